// The parameters that a rank of one pipeline coordinate has, and over how many ranks what belongs
// to them is divided.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan_context.hpp"

namespace windtunnel {

// Of one rank: routed experts are apart where other ranks hold copies of them than of the rest.
struct ParameterCount {
  std::int64_t shared = 0, expert = 0;  // that are trained
  std::int64_t frozen = 0;
  std::int64_t trained() const { return shared + expert; }
  std::int64_t total() const { return trained() + frozen; }
  void add(const ParameterCount& more) {
    shared += more.shared;
    expert += more.expert;
    frozen += more.frozen;
  }
};

class RankParameters {
 public:
  // The context must outlive it.
  RankParameters(const PlanContext& context, int pipeline);

  int pipeline() const { return pipeline_; }
  bool owns(int layer) const;
  std::vector<Tensor> tensors_of(int layer) const;
  std::int64_t numel_of(const Tensor& tensor) const;
  bool is_expert(const Tensor& tensor) const;
  ParameterCount count_of(int layer) const;
  ParameterCount count_of(LayerRange layers) const;

  // Whether other ranks reduce the same gradients.
  bool has_copies() const;
  bool folds_experts() const { return folds_experts_; }
  int shards() const { return shards_; }                // of the optimizer state
  int expert_shards() const { return expert_shards_; }  // of that of routed experts
  // The ranks that gradients are reduced over, all of them or those of a group that divides states.
  GroupKind shard_group() const;
  // Trained parameters whose optimizer state this rank holds.
  double sharded(const ParameterCount& parameters) const;

 private:
  const PlanContext& context_;
  const Job& job_;
  const RankGrid& grid_;
  int pipeline_;
  bool folds_experts_;
  int shards_, expert_shards_;
};

}  // namespace windtunnel

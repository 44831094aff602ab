// Builds the Program of one pipeline coordinate: the parts of its schedule's actions (parts.hpp) as
// ops on streams, with the collectives and messages between them and the end of the step.
#pragma once

#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "plan/flat_copies.hpp"
#include "plan/job.hpp"
#include "plan/parts.hpp"
#include "plan/plan.hpp"
#include "plan/plan_context.hpp"
#include "plan/rank_parameters.hpp"

namespace windtunnel {

// Blocks are shared between programs and micro-batches.
class BlockTable {
 public:
  BlockTable(const std::vector<LayerWork>& works, std::vector<Block>& blocks)
      : works_(works), blocks_(blocks) {}
  int layers(ActionType type, LayerRange range, const FlatCopies& copies);
  int single(std::string_view name, const Work& work);

 private:
  const std::vector<LayerWork>& works_;
  std::vector<Block>& blocks_;
  std::map<std::tuple<ActionType, int, int, FlatCopies>, int> known_;
};

class ProgramBuilder {
 public:
  ProgramBuilder(const PlanContext& context, BlockTable& blocks, int pipeline);
  Program build();

 private:
  // Ranks over which gradients are divided once they are reduced: ZeRO-1 keeps whole buffers.
  int gradient_shards() const { return job_.parallel.zero_stage >= 2 ? own_.shards() : 1; }

  int add(Op op);
  void set_resident_memory();
  std::vector<std::int64_t> gathers_of(LayerRange layers) const;
  int add_gather(const Part& part, const std::vector<int>& after);
  int add_compute(const Part& part, int gather, int wait);
  std::optional<int> add_receive(const Part& part);
  void add_send(const Part& part, int compute);
  void add_reductions(const Part& part, int compute);
  void add_reduction(LayerRange layers, const GradientBucket& bucket, int compute);
  void add_step_end();
  void add_final_gathers(int optimizer);
  void add_final_gather(LayerRange layers, GroupKind group, std::int64_t parameters, int optimizer);
  void add_gather_of_small_tensors(int optimizer);
  void add_replicated_reduction();
  void add_embedding_reduction();
  int add_single(std::string_view name, const Work& work);
  void set_compute_memory(const Part& part, Op& op) const;
  FlatCopies copies_of(const Part& part) const;

  const PlanContext& context_;
  const Job& job_;
  const RankGrid& grid_;
  const Schedule& schedule_;
  const RankParameters own_;
  BlockTable& blocks_;
  Program program_;
  double weight_bytes_, gradient_bytes_;  // per parameter
  double held_ = 0;                       // parameters whose optimizer state this rank holds
  int last_compute_ = -1, last_communication_ = -1;
  std::vector<std::pair<LayerRange, GradientBucket>> deferred_;  // reductions without overlap
};

}  // namespace windtunnel

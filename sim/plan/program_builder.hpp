// Builds the Program of one pipeline coordinate: its schedule's actions cut into parts where a
// weight gather or a gradient reduction must fall between layers, then streamed.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "plan/job.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

struct LayerRange {
  int first = 0, end = 0;
};

// Of one rank: routed experts are apart where other ranks hold copies of them than of the rest.
struct ParameterCount {
  std::int64_t shared = 0, expert = 0;
  std::int64_t total() const { return shared + expert; }
  void add(const ParameterCount& more) { shared += more.shared, expert += more.expert; }
};

// What all programs of a plan share.
struct PlanContext {
  const Job& job;
  const Plan& plan;
  std::vector<LayerWork> works;             // by layer
  std::vector<LayerRange> layers_of_stage;  // by virtual stage
};

// Blocks are shared between programs and micro-batches.
class BlockTable {
 public:
  BlockTable(const std::vector<LayerWork>& works, std::vector<Block>& blocks)
      : works_(works), blocks_(blocks) {}
  int layers(ActionType type, LayerRange range);
  int single(std::string_view name, const Work& work);

 private:
  const std::vector<LayerWork>& works_;
  std::vector<Block>& blocks_;
  std::map<std::tuple<ActionType, int, int>, int> known_;
};

class ProgramBuilder {
 public:
  ProgramBuilder(const PlanContext& context, BlockTable& blocks, int pipeline);
  Program build();

 private:
  struct Bucket {
    std::int64_t parameters = 0;
    bool expert = false;
    int layer = 0;  // of the tensor that is ready last
  };
  // Layers of an action that run without a stop on the compute stream.
  struct Part {
    Action action;
    LayerRange layers;
    bool opens = true, closes = true;  // first, last part of its action
    bool gather = false;               // ZeRO-3: its weights must be gathered first
    bool release = false;              // ZeRO-3: gathered weights are freed at its end
    bool new_gradients = false;        // ZeRO-2 and 3: makes whole gradients, beside the kept shard
    std::vector<Bucket> buckets;       // gradient buckets that are complete at its end
  };

  std::int64_t numel_of(const Tensor& tensor) const;
  bool is_expert(const Tensor& tensor) const;
  ParameterCount parameters_of(int layer) const;
  ParameterCount parameters_of(LayerRange layers) const;
  double sharded(const ParameterCount& parameters) const;
  std::vector<Tensor> tensors_of(int layer) const;
  bool owns(int layer) const;
  bool reduces(const Action& action, int position) const;
  bool starts_gradients(const Action& action, int position) const;
  bool reduces_each_pass() const;
  std::vector<Part> parts() const;
  void append_parts(const Action& action, bool reduce, std::vector<Part>& parts) const;
  std::vector<Bucket> buckets(LayerRange layers, bool expert, Bytes first_limit, Bytes limit) const;
  std::vector<Part> bucket_parts(const Action& action) const;
  bool is_shared_with_other_end(const Tensor& tensor) const;
  void mark_gathers(std::vector<Part>& parts) const;

  // Ranks over which gradients are divided once they are reduced: ZeRO-1 keeps whole buffers.
  int gradient_shards() const { return job_.parallel.zero_stage >= 2 ? shards_ : 1; }
  bool has_copies() const { return grid_.data > 1 || (folds_experts_ && grid_.expert_data() > 1); }

  int add(Op op);
  void set_resident_memory();
  int add_gather(const Part& part, std::vector<int> after);
  int add_compute(const Part& part, int gather, int wait);
  std::optional<int> add_receive(const Part& part);
  void add_send(const Part& part, int compute);
  void add_reductions(const Part& part, int compute);
  void add_reduction(LayerRange layers, const Bucket& bucket, int compute);
  void add_step_end();
  void add_final_gathers(int optimizer);
  void add_final_gather(LayerRange layers, GroupKind group, std::int64_t parameters, int optimizer);
  void add_replicated_reduction();
  void add_embedding_reduction();
  int add_single(std::string_view name, const Work& work);
  void set_compute_memory(const Part& part, Op& op) const;

  const PlanContext& context_;
  const Job& job_;
  const RankGrid& grid_;
  const Schedule& schedule_;
  BlockTable& blocks_;
  Program program_;
  double weight_bytes_, gradient_bytes_;  // per parameter
  bool folds_experts_;
  int shards_;         // ranks over which the optimizer state is divided
  int expert_shards_;  // that of routed experts
  double held_ = 0;    // parameters whose optimizer state this rank holds
  int last_compute_ = -1, last_communication_ = -1;
  std::vector<std::pair<LayerRange, Bucket>> deferred_;  // reductions without overlap
};

}  // namespace windtunnel

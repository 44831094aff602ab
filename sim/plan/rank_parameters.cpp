#include "plan/rank_parameters.hpp"

#include <algorithm>

namespace windtunnel {

RankParameters::RankParameters(const PlanContext& context, int pipeline)
    : context_(context),
      job_(context.job),
      grid_(context.plan.grid),
      pipeline_(pipeline),
      folds_experts_(job_.model.has_experts() && job_.parallel.folds_experts()),
      shards_(job_.parallel.zero_stage == 0 ? 1 : grid_.shard_ranks),
      expert_shards_(job_.parallel.zero_stage == 0 ? 1
                     : folds_experts_              ? grid_.expert_data()
                                                   : shards_) {}

GroupKind RankParameters::shard_group() const {
  const Parallelism& parallel = job_.parallel;
  return parallel.zero_stage == 3 || parallel.shard_ranks > 0 ? GroupKind::Shard : GroupKind::Data;
}

bool RankParameters::owns(int layer) const {
  const Schedule& schedule = context_.plan.schedule;
  for (int stage = 0; stage < schedule.stages(); ++stage) {
    const LayerRange range = context_.layers_of_stage[std::size_t(stage)];
    if (layer >= range.first && layer < range.end)
      return schedule.device_of_stage[std::size_t(stage)] == pipeline_;
  }
  return false;
}

// A tied head on the rank that has the embedding too uses the embedding's tensor and has none
// itself.
std::vector<Tensor> RankParameters::tensors_of(int layer) const {
  const std::vector<Layer>& layers = job_.model.layers;
  std::vector<Tensor> tensors = layers[std::size_t(layer)].tensors;
  const bool is_head = layer > 0 && layer + 1 == int(layers.size());
  if (is_head && job_.model.tied_embeddings() && owns(0))
    std::erase_if(tensors, [&](const Tensor& tensor) {
      return std::any_of(layers.front().tensors.begin(), layers.front().tensors.end(),
                         [&](const Tensor& other) { return other.name == tensor.name; });
    });
  return tensors;
}

std::int64_t RankParameters::numel_of(const Tensor& tensor) const {
  return tensor.numel_per_rank(grid_.tensor, grid_.expert_ranks());
}

bool RankParameters::is_expert(const Tensor& tensor) const {
  return folds_experts_ && tensor.experts > 0;
}

ParameterCount RankParameters::count_of(int layer) const {
  ParameterCount count;
  for (const Tensor& tensor : tensors_of(layer))
    (tensor.frozen       ? count.frozen
     : is_expert(tensor) ? count.expert
                         : count.shared) += numel_of(tensor);
  return count;
}

ParameterCount RankParameters::count_of(LayerRange layers) const {
  ParameterCount sum;
  for (int layer = layers.first; layer < layers.end; ++layer) sum.add(count_of(layer));
  return sum;
}

double RankParameters::sharded(const ParameterCount& parameters) const {
  return double(parameters.shared) / shards_ + double(parameters.expert) / expert_shards_;
}

bool RankParameters::has_copies() const {
  return grid_.data > 1 || (folds_experts_ && grid_.expert_data() > 1);
}

}  // namespace windtunnel

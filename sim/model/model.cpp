#include "model/model.hpp"

#include <algorithm>
#include <utility>

namespace windtunnel {
namespace {

// Tensors of the last layer that are the first layer's under the same name.
std::int64_t shared_numel(const std::vector<Layer>& layers) {
  if (layers.size() < 2 || layers.front().kind != LayerKind::Embedding) return 0;
  const std::vector<Tensor>& first = layers.front().tensors;
  std::int64_t numel = 0;
  for (const Tensor& tensor : layers.back().tensors)
    if (std::any_of(first.begin(), first.end(),
                    [&](const Tensor& other) { return other.name == tensor.name; }))
      numel += tensor.numel;
  return numel;
}

}  // namespace

std::int64_t Layer::parameters() const {
  return parameters_per_rank(1);
}

std::int64_t Tensor::numel_per_rank(int tensor_degree, int expert_ranks) const {
  const int ranks = experts > 0 ? expert_ranks : split ? tensor_degree : 1;
  SIM_CHECK(numel % ranks == 0, "slice_limits let an uneven tensor pass: " + name);
  return numel / ranks;
}

std::int64_t Layer::parameters_per_rank(int tensor_degree, int expert_ranks) const {
  std::int64_t numel = 0;
  for (const Tensor& tensor : tensors) numel += tensor.numel_per_rank(tensor_degree, expert_ranks);
  return numel;
}

std::int64_t Layer::trained_per_rank(int tensor_degree, int expert_ranks) const {
  std::int64_t numel = 0;
  for (const Tensor& tensor : tensors)
    if (!tensor.frozen) numel += tensor.numel_per_rank(tensor_degree, expert_ranks);
  return numel;
}

std::int64_t Model::parameter_count() const {
  std::int64_t numel = -shared_numel(layers);
  for (const Layer& layer : layers) numel += layer.parameters();
  return numel;
}

std::int64_t Model::active_parameter_count() const {
  std::int64_t numel = parameter_count();
  for (const Layer& layer : layers)
    for (const Tensor& tensor : layer.tensors)
      if (tensor.experts > 0)
        numel -= tensor.numel / tensor.experts * (tensor.experts - tensor.experts_per_token);
  return numel;
}

std::int64_t Model::trained_parameter_count() const {
  std::int64_t numel = layers.front().tensors.empty() || layers.front().tensors.front().frozen
                           ? 0
                           : -shared_numel(layers);
  for (const Layer& layer : layers) numel += layer.trained_per_rank(1);
  return numel;
}

std::string recomputation_text(const Recomputation& recomputation) {
  if (recomputation.kind != Recompute::Modules)
    return std::string(kRecomputeNames[std::size_t(recomputation.kind)]);
  std::string text;
  for (std::size_t i = 0; i < kRecomputeModuleNames.size(); ++i) {
    if (!recomputation.modules.has(RecomputeModule(i))) continue;
    if (!text.empty()) text += " + ";
    text += kRecomputeModuleNames[i];
  }
  return text;
}

bool Model::has_experts() const {
  for (const Layer& layer : layers)
    for (const Tensor& tensor : layer.tensors)
      if (tensor.experts > 0) return true;
  return false;
}

bool Model::tied_embeddings() const {
  return shared_numel(layers) > 0;
}

LayerWork layer_work(const Model& model, int layer, const Slice& slice) {
  LayerWork work = model.family->work(model, layer, slice);
  work.forward_flops = slice.context * work.forward_flops;
  work.backward_flops = slice.context * work.backward_flops;
  work.causal_saving = slice.context * work.causal_saving;
  return work;
}

Model build_model(std::string name, const ModelFamily& family, Parameters parameters) {
  SIM_CHECK(family.limits(parameters).empty(), family.limits(parameters));
  Model model;
  model.name = std::move(name);
  model.source = family.source;
  model.family = &family;
  model.layers = family.layers(parameters);
  model.parameters = std::move(parameters);
  return model;
}

}  // namespace windtunnel

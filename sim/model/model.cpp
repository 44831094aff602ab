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

std::int64_t Layer::parameters_per_rank(int tensor_degree) const {
  std::int64_t numel = 0;
  for (const Tensor& tensor : tensors) {
    const int ranks = tensor.split ? tensor_degree : 1;
    SIM_CHECK(tensor.numel % ranks == 0, "slice_limits let an uneven tensor pass: " + tensor.name);
    numel += tensor.numel / ranks;
  }
  return numel;
}

std::int64_t Model::parameter_count() const {
  std::int64_t numel = -shared_numel(layers);
  for (const Layer& layer : layers) numel += layer.parameters();
  return numel;
}

bool Model::tied_embeddings() const {
  return shared_numel(layers) > 0;
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

#include "backend/model/layer_module.hpp"

#include <array>
#include <utility>

#include "backend/model/families.hpp"

namespace windtunnel {
namespace {

const FamilyModules* modules_of(const Model& model) {
  static const std::array families = {gpt_modules(), llama_modules(),  bert_modules(),
                                      vit_modules(), resnet_modules(), mlp_modules()};
  for (const FamilyModules& family : families)
    if (family.name == model.family->name) return &family;
  return nullptr;
}

}  // namespace

std::unique_ptr<LayerModule> make_layer(const Job& job, int layer, LayerContext& context,
                                        std::uint64_t seed, at::Tensor tied_words) {
  SIM_CHECK(model_complaint(job).empty(), model_complaint(job));
  return modules_of(job.model)->make({job, layer, context, seed, std::move(tied_words)});
}

std::string model_complaint(const Job& job) {
  const FamilyModules* modules = modules_of(job.model);
  if (modules == nullptr)
    return "models of the family '" + std::string(job.model.family->name) +
           "' have no layers to run";
  return modules->complaint == nullptr ? std::string() : modules->complaint(job.model);
}

std::vector<std::int64_t> output_shape(const Job& job, int layer) {
  if (layer + 1 == int(job.model.layers.size())) return {};  // the loss, a scalar
  return modules_of(job.model)->output_shape(job, layer);
}

}  // namespace windtunnel

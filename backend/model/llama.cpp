// Llama and its kin: sim/model/llama.cpp.
#include <algorithm>

#include "backend/model/transformer.hpp"
#include "model/families.hpp"

namespace windtunnel {
namespace {

// Source: rms_norm_eps of Llama 2 and 3's config.json.
constexpr double kEpsilon = 1e-5;

bool has_experts(const Layer& layer) {
  return std::any_of(layer.tensors.begin(), layer.tensors.end(),
                     [](const Tensor& tensor) { return tensor.experts > 0; });
}

ExpertShape expert_sizes(const Parameters& parameters) {
  return {.experts = parameters.count("experts"),
          .per_token = parameters.count("experts_per_token"),
          .ffn = count_or(parameters, "expert_ffn", parameters.count("ffn")),
          .shared_ffn = parameters.count("shared_expert_ffn"),
          .capacity_factor = parameters.number("capacity_factor")};
}

std::unique_ptr<LayerModule> make(const LayerArguments& arguments) {
  const Parameters& parameters = arguments.parameters();
  switch (arguments.kind()) {
    case LayerKind::Embedding:
      return make_token_embedding(arguments, {});
    case LayerKind::Block: {
      BlockOptions options = {.shape = block_sizes(parameters), .epsilon = kEpsilon};
      options.shape.causal = options.shape.rotary = true;
      options.shape.activation =
          parameters.flag("gated") ? MlpActivation::SwiGlu : MlpActivation::SquaredRelu;
      options.shape.biased = false;
      if (has_experts(arguments.job.model.layers[std::size_t(arguments.layer)]))
        options.shape.moe = expert_sizes(parameters);
      return make_block(arguments, options);
    }
    case LayerKind::Head:
      return make_language_head(arguments, kEpsilon, false, parameters.flag("tied_embeddings"));
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::vector<std::int64_t> output(const Job& job, int) {
  return hidden_shape(job, job.batch.sequence);
}

std::string complaint(const Model& model) {
  // A rotation turns pairs of features.
  if (block_sizes(model.parameters).head_size % 2 != 0)
    return "rotary positions need an even head size";
  if (model.parameters.flag("router_bias"))
    return "router_bias is simulated only: the backend has no rule that moves it";
  return {};
}

}  // namespace

FamilyModules llama_modules() {
  return {.name = "llama", .make = make, .output_shape = output, .complaint = complaint};
}

}  // namespace windtunnel

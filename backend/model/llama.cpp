// Llama and its kin: sim/model/llama.cpp.
#include "backend/model/transformer.hpp"

namespace windtunnel {
namespace {

// Source: rms_norm_eps of Llama 2 and 3's config.json.
constexpr double kEpsilon = 1e-5;

std::unique_ptr<LayerModule> make(const LayerArguments& arguments) {
  const Parameters& parameters = arguments.parameters();
  switch (arguments.kind()) {
    case LayerKind::Embedding:
      return make_token_embedding(arguments, {});
    case LayerKind::Block:
      return make_block(arguments, {.shape = llama_block_shape(parameters, arguments.layer - 1),
                                    .epsilon = kEpsilon});
    case LayerKind::Head:
      return make_language_head(arguments, kEpsilon, false, parameters.flag("tied_embeddings"));
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::vector<std::int64_t> output(const Job& job, int) {
  return hidden_shape(job, job.batch.sequence);
}

// Why the layers cannot be run, or empty. A rotation turns pairs of features.
std::string complaint(const Model& model) {
  if (model.parameters.count("router_groups") > 0)
    return "router_groups is simulated only: the backend's router chooses among all experts";
  for (const char* key : {"expert_bias", "clamped_experts", "scaled_rotary"})
    if (model.parameters.flag(key)) return std::string(key) + " is simulated only";
  const BlockShape shape = llama_block_shape(model.parameters, 0);
  if (shape.latent.kv_rank > 0)
    return shape.latent.rope % 2 == 0 ? "" : "rotary positions need an even rope_size";
  return shape.head_size % 2 == 0 ? "" : "rotary positions need an even head size";
}

}  // namespace

FamilyModules llama_modules() {
  return {.name = "llama", .make = make, .output_shape = output, .complaint = complaint};
}

}  // namespace windtunnel

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
    case LayerKind::Block: {
      BlockOptions options = {.shape = block_sizes(parameters), .epsilon = kEpsilon};
      options.shape.causal = options.shape.rotary = true;
      options.shape.activation =
          parameters.flag("gated") ? MlpActivation::SwiGlu : MlpActivation::SquaredRelu;
      options.shape.biased = false;
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

// A rotation turns pairs of features.
std::string complaint(const Model& model) {
  if (block_sizes(model.parameters).head_size % 2 == 0) return {};
  return "rotary positions need an even head size";
}

}  // namespace

FamilyModules llama_modules() {
  return {.name = "llama", .make = make, .output_shape = output, .complaint = complaint};
}

}  // namespace windtunnel

// GPT-2, GPT-3 and BLOOM: sim/model/gpt.cpp.
#include "backend/model/transformer.hpp"

namespace windtunnel {
namespace {

// Source: GPT-2's config.json, layer_norm_epsilon; BLOOM's is the same.
constexpr double kEpsilon = 1e-5;

std::unique_ptr<LayerModule> make(const LayerArguments& arguments) {
  const Parameters& parameters = arguments.parameters();
  const bool has_positions = parameters.flag("learned_positions");
  switch (arguments.kind()) {
    case LayerKind::Embedding:
      return make_token_embedding(
          arguments, {.positions = has_positions ? parameters.count("max_sequence") : 0,
                      .epsilon = parameters.flag("embedding_layernorm") ? kEpsilon : 0});
    case LayerKind::Block: {
      BlockOptions options = {
          .shape = block_sizes(parameters), .epsilon = kEpsilon, .alibi = !has_positions};
      options.shape.causal = true;
      return make_block(arguments, options);
    }
    case LayerKind::Head:
      return make_language_head(arguments, kEpsilon, true, parameters.flag("tied_embeddings"));
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::vector<std::int64_t> output(const Job& job, int) {
  return hidden_shape(job, job.batch.sequence);
}

}  // namespace

FamilyModules gpt_modules() {
  return {.name = "gpt", .make = make, .output_shape = output, .complaint = nullptr};
}

}  // namespace windtunnel

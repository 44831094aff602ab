// Decoders of the Llama kind: grouped-query attention, SwiGLU, RMSNorm, rotary positions, no
// biases, no dropout. Projections of one input are one GEMM and one tensor (Q with K and V, gate
// with up), as in Megatron-LM. Parameters: l (h a d + 2 h g d + a d h + 3 h f + 2 h) + h + 2 V h,
// or + V h with a tied head.
#include "model/families.hpp"
#include "model/transformer.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"layers"},
    {"hidden"},
    {"heads"},
    {"kv_heads", ParameterKind::Count, false, 0},   // absent: heads
    {"head_size", ParameterKind::Count, false, 0},  // absent: hidden / heads
    {"ffn"},
    {"vocab"},
    {"tied_embeddings", ParameterKind::Flag, false, 0},
};

constexpr std::int64_t kWidestAttention = 1 << 22;

BlockShape block_shape(const Parameters& parameters) {
  BlockShape shape;
  shape.hidden = parameters.count("hidden");
  shape.heads = parameters.count("heads");
  shape.kv_heads = count_or(parameters, "kv_heads", shape.heads);
  shape.head_size = count_or(parameters, "head_size", shape.hidden / shape.heads);
  shape.ffn = parameters.count("ffn");
  shape.gated = true;
  shape.causal = true;
  shape.rotary = true;
  shape.biased = false;
  return shape;
}

std::string limits(const Parameters& parameters) {
  const std::int64_t heads = parameters.count("heads");
  if (parameters.count("head_size") == 0 && parameters.count("hidden") % heads != 0)
    return multiple_limit("hidden", parameters.count("hidden"), "heads", heads) +
           ", and there is no head_size";
  std::string why =
      most_limit("heads * head_size", heads * parameters.count("head_size"), kWidestAttention);
  if (!why.empty()) return why;
  return multiple_limit("heads", heads, "kv_heads", count_or(parameters, "kv_heads", heads));
}

std::vector<Layer> layers(const Parameters& parameters) {
  const std::int64_t hidden = parameters.count("hidden");
  const Tensor words = {"embedding.words", parameters.count("vocab") * hidden, true};
  std::vector<Layer> list = {{"embedding", LayerKind::Embedding, {words}}};
  const std::vector<Tensor> tensors = transformer_block_tensors(block_shape(parameters));
  for (int i = 0; i < parameters.count("layers"); ++i)
    list.push_back({"block " + std::to_string(i), LayerKind::Block, tensors});
  const bool tied = parameters.flag("tied_embeddings");
  list.push_back(
      {"head",
       LayerKind::Head,
       {{"final_norm.weight", hidden, false}, tied ? words : Tensor{"head", words.numel, true}}});
  return list;
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  const TransformerSlice here(slice, slice.sequence, parameters.count("hidden"));
  switch (model.layers[std::size_t(layer)].kind) {
    case LayerKind::Embedding:
      return token_embedding(here, {.vocab = parameters.count("vocab")});
    case LayerKind::Block:
      return transformer_block(here, block_shape(parameters), slice.recompute);
    case LayerKind::Head:
      return language_head(here, parameters.count("vocab"));
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::string slice_limits(const Model& model, const Slice& slice) {
  const std::string why = block_slice_limits(block_shape(model.parameters), slice.sequence, slice);
  return why.empty() ? vocabulary_limit(model.parameters.count("vocab"), slice.tensor) : why;
}

}  // namespace

ModelFamily llama_family() {
  return {.name = "llama",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = slice_limits,
          .is_sequence = true,
          .source = "Touvron et al. 2023, arXiv:2307.09288; Dubey et al. 2024, arXiv:2407.21783"};
}

}  // namespace windtunnel

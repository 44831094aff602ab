// Decoders of the GPT-2 kind: fused QKV, GELU MLP, LayerNorm before each linear, biases, learned
// positions, head tied to the embedding. BLOOM: no learned positions (ALiBi adds a bias to the
// scores inside the softmax kernel), and a norm after the embedding. Parameters: l (12 h^2 + 13 h)
// + V h + s_max h + 2 h with f = 4 h, a tied head and learned positions.
#include "model/families.hpp"
#include "model/transformer_ends.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"layers"},
    {"hidden"},
    {"heads"},
    {"ffn", ParameterKind::Count, false, 0},  // absent: 4 * hidden
    {"vocab"},
    {"max_sequence"},
    {"learned_positions", ParameterKind::Flag, false, 1},
    {"embedding_layernorm", ParameterKind::Flag, false, 0},
    {"tied_embeddings", ParameterKind::Flag, false, 1},
    {"dropout", ParameterKind::Flag, false, 1},
};

BlockShape block_shape(const Parameters& parameters) {
  BlockShape shape;
  shape.hidden = parameters.count("hidden");
  shape.heads = shape.kv_heads = parameters.count("heads");
  shape.head_size = shape.hidden / shape.heads;
  shape.ffn = count_or(parameters, "ffn", 4 * shape.hidden);
  shape.causal = true;
  shape.dropout = parameters.flag("dropout");
  return shape;
}

std::string limits(const Parameters& parameters) {
  return multiple_limit("hidden", parameters.count("hidden"), "heads", parameters.count("heads"));
}

std::vector<Layer> layers(const Parameters& parameters) {
  const std::int64_t hidden = parameters.count("hidden");
  const Tensor words = {"embedding.words", parameters.count("vocab") * hidden, true};

  Layer embedding = {"embedding", LayerKind::Embedding, {words}};
  if (parameters.flag("learned_positions"))
    embedding.tensors.push_back(
        {"embedding.positions", parameters.count("max_sequence") * hidden, false});
  if (parameters.flag("embedding_layernorm")) {
    embedding.tensors.push_back({"embedding_norm.weight", hidden, false});
    embedding.tensors.push_back({"embedding_norm.bias", hidden, false});
  }
  Layer head = {"head", LayerKind::Head, {}};
  head.tensors.push_back({"final_norm.weight", hidden, false});
  head.tensors.push_back({"final_norm.bias", hidden, false});
  head.tensors.push_back(parameters.flag("tied_embeddings") ? words
                                                            : Tensor{"head", words.numel, true});

  std::vector<Layer> list = {embedding};
  const std::vector<Tensor> tensors = transformer_block_tensors(block_shape(parameters));
  for (int i = 0; i < parameters.count("layers"); ++i)
    list.push_back({"block " + std::to_string(i), LayerKind::Block, tensors});
  list.push_back(head);
  return list;
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  const TransformerSlice here(slice, slice.sequence, parameters.count("hidden"));
  switch (model.layers[std::size_t(layer)].kind) {
    case LayerKind::Embedding:
      return token_embedding(here, {.vocab = parameters.count("vocab"),
                                    .added = parameters.flag("learned_positions") ? 1 : 0,
                                    .norm = parameters.flag("embedding_layernorm"),
                                    .dropout = parameters.flag("dropout")});
    case LayerKind::Block:
      return transformer_block(here, block_shape(parameters), slice.recompute);
    case LayerKind::Head:
      return language_head(here, parameters.count("vocab"));
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::string slice_limits(const Model& model, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  if (parameters.flag("learned_positions")) {
    std::string why = positions_limit(slice.sequence, parameters.count("max_sequence"));
    if (!why.empty()) return why;
  }
  const std::string block = block_slice_limits(block_shape(parameters), slice.sequence, slice);
  return block.empty() ? vocabulary_limit(parameters.count("vocab"), slice.tensor) : block;
}

}  // namespace

ModelFamily gpt_family() {
  return {.name = "gpt",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = slice_limits,
          .is_sequence = true,
          .source = "Radford et al. 2019, GPT-2; Brown et al. 2020, arXiv:2005.14165; Megatron-LM",
          .has_context_parallelism = true};
}

}  // namespace windtunnel

// Encoders of the BERT kind: norms after the residuals, no causal mask, token types, a pooler on
// the first token. `mlm_head` adds the heads of pre-training: masked-language-model transform and
// tied decoder, and next-sentence prediction. `masked` is the part of the positions that transform
// and decoder run on: where the data say which words are masked, the others are dropped before
// (gather_indexes of google-research/bert, run_pretraining.py). Parameters: (V + s_max + types)
// h + 2 h + l (12 h^2 + 13 h) + h^2 + h with f = 4 h; the pre-training heads add h^2 + 3 h + V + 2
// h + 2. Megatron-LM runs pooler and transform on every tensor-parallel rank, unsplit.
#include <cmath>
#include <utility>

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
    {"max_sequence", ParameterKind::Count, false, 512},
    {"token_types", ParameterKind::Count, false, 2},
    {"mlm_head", ParameterKind::Flag, false, 1},
    {"masked", ParameterKind::Ratio, false, 1},
    {"dropout", ParameterKind::Flag, false, 1},
};
constexpr std::int64_t kNextSentenceClasses = 2;

constexpr GemmNames kPooler = {"pooler", "pooler.input_gradient", "pooler.weight_gradient"};
constexpr GemmNames kNextSentence = {"next_sentence", "next_sentence.input_gradient",
                                     "next_sentence.weight_gradient"};
constexpr GemmNames kTransform = {"transform", "transform.input_gradient",
                                  "transform.weight_gradient"};

BlockShape block_shape(const Parameters& parameters) {
  BlockShape shape;
  shape.hidden = parameters.count("hidden");
  shape.heads = shape.kv_heads = parameters.count("heads");
  shape.head_size = shape.hidden / shape.heads;
  shape.ffn = count_or(parameters, "ffn", 4 * shape.hidden);
  shape.dropout = parameters.flag("dropout");
  shape.post_norm = true;
  return shape;
}

std::string limits(const Parameters& parameters) {
  if (parameters.number("masked") > 1) return "masked is more than all positions";
  return multiple_limit("hidden", parameters.count("hidden"), "heads", parameters.count("heads"));
}

std::vector<Layer> layers(const Parameters& parameters) {
  const std::int64_t hidden = parameters.count("hidden"), vocab = parameters.count("vocab");
  const Tensor words = {"embedding.words", vocab * hidden, true};
  Layer embedding = {"embedding", LayerKind::Embedding, {words}};
  embedding.tensors.push_back({"embedding.positions", parameters.count("max_sequence") * hidden});
  embedding.tensors.push_back({"embedding.types", parameters.count("token_types") * hidden});
  embedding.tensors.push_back({"embedding_norm.weight", hidden});
  embedding.tensors.push_back({"embedding_norm.bias", hidden});

  Layer head = {"head", LayerKind::Head, {}};
  head.tensors = {{"pooler.weight", hidden * hidden}, {"pooler.bias", hidden}};
  if (parameters.flag("mlm_head")) {
    head.tensors.push_back({"transform.weight", hidden * hidden});
    head.tensors.push_back({"transform.bias", hidden});
    head.tensors.push_back({"transform_norm.weight", hidden});
    head.tensors.push_back({"transform_norm.bias", hidden});
    head.tensors.push_back(words);
    head.tensors.push_back({"decoder.bias", vocab, true});
    head.tensors.push_back({"next_sentence.weight", kNextSentenceClasses * hidden});
    head.tensors.push_back({"next_sentence.bias", kNextSentenceClasses});
  }
  std::vector<Layer> list = {embedding};
  const std::vector<Tensor> tensors = transformer_block_tensors(block_shape(parameters));
  for (int i = 0; i < parameters.count("layers"); ++i)
    list.push_back({"block " + std::to_string(i), LayerKind::Block, tensors});
  list.push_back(head);
  return list;
}

// One token of a sample: left out of the FLOPs that MFU counts (a ten-thousandth of the head's).
Operation first_token_linear(const GemmNames& names, const TransformerSlice& slice,
                             std::int64_t out) {
  Operation op = linear_operation(names, slice.batch, slice.hidden, out, slice.type);
  op.forward_flops = op.backward_flops = Flops(0);
  return op;
}

// The positions whose words the head guesses.
TransformerSlice masked_slice(TransformerSlice slice, const Parameters& parameters) {
  slice.tokens = std::int64_t(std::ceil(double(slice.tokens) * parameters.number("masked")));
  return slice;
}

LayerWork head_work(const TransformerSlice& slice, const Parameters& parameters) {
  const std::int64_t hidden = slice.hidden, vocab = parameters.count("vocab");
  const TransformerSlice masked = masked_slice(slice, parameters);
  const std::int64_t rows = slice.splits_sequence ? masked.tokens / slice.tensor : masked.tokens;
  std::vector<Operation> operations = {
      first_token_linear(kPooler, slice, hidden),
      activation_function(slice, "tanh", double(slice.batch * hidden))};
  const bool has_loss = parameters.flag("mlm_head");
  if (has_loss) {
    operations.push_back(first_token_linear(kNextSentence, slice, kNextSentenceClasses));
    operations.push_back(linear_operation(kTransform, rows, hidden, hidden, slice.type));
    // Under sequence parallelism a rank runs its tokens only; MFU counts all ranks'.
    Operation& transform = operations.back();
    transform.forward_flops = (slice.splits_sequence ? slice.tensor : 1) * transform.forward_flops;
    transform.backward_flops = 2 * transform.forward_flops;
    operations.push_back(activation_function(masked, "transform_gelu", masked.local_elements()));
    operations.push_back(norm_operation(masked, "transform_norm"));
    for (Operation& op : vocabulary_loss(masked, vocab)) operations.push_back(std::move(op));
  }
  LayerWork work =
      assembled_layer(operations, LayerKind::Head, slice.local_hidden(), Bytes(0), Recompute::None);
  if (has_loss) set_logits(masked, vocab, work);
  return work;
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  const TransformerSlice here(slice, slice.sequence, parameters.count("hidden"));
  switch (model.layers[std::size_t(layer)].kind) {
    case LayerKind::Embedding:
      return token_embedding(here, {.vocab = parameters.count("vocab"),
                                    .added = 2,
                                    .norm = true,
                                    .dropout = parameters.flag("dropout")});
    case LayerKind::Block:
      return transformer_block(here, block_shape(parameters), slice.recompute);
    case LayerKind::Head:
      return head_work(here, parameters);
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::string slice_limits(const Model& model, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  std::string why = positions_limit(slice.sequence, parameters.count("max_sequence"));
  if (!why.empty()) return why;
  const std::string block = block_slice_limits(block_shape(parameters), slice.sequence, slice);
  return block.empty() ? vocabulary_limit(parameters.count("vocab"), slice.tensor) : block;
}

}  // namespace

ModelFamily bert_family() {
  return {.name = "bert",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = slice_limits,
          .is_sequence = true,
          .source = "Devlin et al. 2018, arXiv:1810.04805; Megatron-LM"};
}

}  // namespace windtunnel

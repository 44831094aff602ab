// Vision transformers: an image cut into patches, each a token, and one class token that the head
// reads. Blocks as GPT's without causal mask and dropout, and they split over tensor-parallel ranks
// the same way; patch embedding and head are whole on every rank. Follows torchvision's vit_b_16.
// Parameters: (3 p^2 + 1) h + h + T h + l (12 h^2 + 13 h) + 2 h + (h + 1) classes with f = 4 h and
// T = (image / p)^2 + 1 tokens.
#include "model/families.hpp"
#include "model/transformer.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"layers"},
    {"hidden"},
    {"heads"},
    {"ffn", ParameterKind::Count, false, 0},  // absent: 4 * hidden
    {"patch"},
    {"image", ParameterKind::Count, false, 224},
    {"classes", ParameterKind::Count, false, 1000},
};
constexpr std::int64_t kColors = 3, kLargestImage = 65536;

constexpr GemmNames kPatches = {"patches", "patches.input_gradient", "patches.weight_gradient"};
constexpr GemmNames kHead = {"head", "head.input_gradient", "head.weight_gradient"};

BlockShape block_shape(const Parameters& parameters) {
  BlockShape shape;
  shape.hidden = parameters.count("hidden");
  shape.heads = shape.kv_heads = parameters.count("heads");
  shape.head_size = shape.hidden / shape.heads;
  shape.ffn = count_or(parameters, "ffn", 4 * shape.hidden);
  return shape;
}

std::int64_t patches_per_side(const Parameters& parameters) {
  return parameters.count("image") / parameters.count("patch");
}

std::int64_t tokens(const Parameters& parameters) {
  return patches_per_side(parameters) * patches_per_side(parameters) + 1;
}

std::string limits(const Parameters& parameters) {
  const std::string whys[] = {
      multiple_limit("hidden", parameters.count("hidden"), "heads", parameters.count("heads")),
      multiple_limit("image", parameters.count("image"), "patch", parameters.count("patch")),
      most_limit("image", parameters.count("image"), kLargestImage)};
  for (const std::string& why : whys)
    if (!why.empty()) return why;
  return {};
}

std::vector<Layer> layers(const Parameters& parameters) {
  const std::int64_t hidden = parameters.count("hidden"), patch = parameters.count("patch");
  const std::int64_t classes = parameters.count("classes");
  std::vector<Layer> list = {{"embedding",
                              LayerKind::Embedding,
                              {{"class_token", hidden},
                               {"patches.weight", kColors * patch * patch * hidden},
                               {"patches.bias", hidden},
                               {"positions", tokens(parameters) * hidden}}}};
  const std::vector<Tensor> tensors = transformer_block_tensors(block_shape(parameters));
  for (int i = 0; i < parameters.count("layers"); ++i)
    list.push_back({"block " + std::to_string(i), LayerKind::Block, tensors});
  list.push_back({"head",
                  LayerKind::Head,
                  {{"final_norm.weight", hidden},
                   {"final_norm.bias", hidden},
                   {"head.weight", hidden * classes},
                   {"head.bias", classes}}});
  return list;
}

// Patches are a convolution with stride = kernel, the first operation: no input gradient. Then the
// class token is put in front (a copy of all tokens) and positions are added; backward sums their
// gradient over the batch and copies the patches' part out.
LayerWork embedding_work(const TransformerSlice& slice, const Parameters& parameters) {
  const Convolution shape = {.samples = slice.batch,
                             .in_channels = kColors,
                             .out_channels = slice.hidden,
                             .kernel = parameters.count("patch"),
                             .in_size = parameters.count("image"),
                             .out_size = patches_per_side(parameters)};
  Operation patches = convolution_operation(kPatches, shape, slice.type, false);
  Work add = elementwise(5 * slice.whole_hidden()), split = elementwise(3 * slice.whole_hidden());
  add.kernels = split.kernels = 2;
  return assembled_layer({patches, elementwise_operation("positions", add, split, Bytes(0))},
                         LayerKind::Embedding, Bytes(0), slice.local_hidden(), Recompute::None);
}

LayerWork head_work(const TransformerSlice& slice, const Parameters& parameters) {
  const std::int64_t classes = parameters.count("classes");
  LayerWork work =
      assembled_layer({norm_operation(slice, "final_norm"),
                       linear_operation(kHead, slice.batch, slice.hidden, classes, slice.type),
                       classification_loss(slice.batch, classes)},
                      LayerKind::Head, slice.local_hidden(), Bytes(0), Recompute::None);
  work.logits = Bytes(4.0 * double(slice.batch * classes));
  return work;
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  const TransformerSlice here(slice, tokens(parameters), parameters.count("hidden"));
  switch (model.layers[std::size_t(layer)].kind) {
    case LayerKind::Embedding:
      return embedding_work(here, parameters);
    case LayerKind::Block:
      return transformer_block(here, block_shape(parameters), slice.recompute);
    case LayerKind::Head:
      return head_work(here, parameters);
  }
  SIM_CHECK(false, "a layer of no kind");
}

// The patches' rank-local tensors hold all tokens, which sequence parallelism would have to split.
std::string slice_limits(const Model& model, const Slice& slice) {
  if (slice.sequence_parallel && slice.tensor > 1)
    return "models of the family 'vit' have no sequence parallelism (an odd number of tokens)";
  return block_slice_limits(block_shape(model.parameters), tokens(model.parameters), slice);
}

}  // namespace

ModelFamily vit_family() {
  return {.name = "vit",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = slice_limits,
          .is_sequence = false,
          .source = "Dosovitskiy et al. 2020, arXiv:2010.11929; torchvision vision_transformer.py"};
}

}  // namespace windtunnel

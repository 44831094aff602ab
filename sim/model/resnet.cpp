// Bottleneck ResNets: 1x1, 3x3, 1x1 convolutions, each with batch norm, and a shortcut. Version 1.5
// (torchvision) strides in the 3x3, version 1 of the paper in the first 1x1.
// Counting: convolutions and linears; batch norm, ReLU and pooling are bytes only.
// Kept from forward to backward, as PyTorch's eager modules with in-place ReLU do: the input of
// every convolution, the input of every batch norm (the convolution's output), and the output of
// every ReLU, which is the input of the next convolution and counted there; the shortcut shares the
// block's input. Fused kernels run ReLU and the shortcut's sum with the batch norm before them, as
// NVIDIA's MXNet does (its BatchNormAddRelu; from memory). Max pooling keeps its input and 8-byte
// indices.
#include "model/families.hpp"
#include "model/operation.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"blocks", ParameterKind::Counts},  // of each of the stages; every later stage halves the image
    {"width", ParameterKind::Count, false, 64},
    {"image", ParameterKind::Count, false, 224},
    {"classes", ParameterKind::Count, false, 1000},
    {"stride_in_3x3", ParameterKind::Flag, false, 1},  // version 1.5
};
constexpr std::int64_t kColors = 3, kStemKernel = 7, kExpansion = 4;
constexpr std::int64_t kMostStages = 8, kLargestWidth = 4096, kLargestImage = 65536;

constexpr GemmNames kStem = {"conv1", "conv1.input_gradient", "conv1.weight_gradient"};
constexpr GemmNames kReduce = {"reduce", "reduce.input_gradient", "reduce.weight_gradient"};
constexpr GemmNames kSpatial = {"spatial", "spatial.input_gradient", "spatial.weight_gradient"};
constexpr GemmNames kExpand = {"expand", "expand.input_gradient", "expand.weight_gradient"};
constexpr GemmNames kShortcut = {"shortcut", "shortcut.input_gradient", "shortcut.weight_gradient"};
constexpr GemmNames kClassifier = {"fc", "fc.input_gradient", "fc.weight_gradient"};

struct Bottleneck {
  std::string name;
  std::int64_t in_channels = 0, width = 0;
  std::int64_t in_size = 0, middle_size = 0, out_size = 0;  // middle: after the first 1x1
  bool projects = false;                                    // the shortcut is a 1x1 convolution
  std::int64_t out_channels() const { return kExpansion * width; }
};

// Size after a convolution or pooling of stride 2 with padding that keeps the size at stride 1.
std::int64_t halved(std::int64_t size) {
  return (size + 1) / 2;
}

std::vector<Bottleneck> bottlenecks(const Parameters& parameters) {
  std::vector<Bottleneck> list;
  std::int64_t channels = parameters.count("width"), width = channels;
  std::int64_t size = halved(halved(parameters.count("image")));
  const std::vector<double>& stages = parameters.list("blocks");
  for (std::size_t stage = 0; stage < stages.size(); ++stage, width *= 2)
    for (int i = 0; i < int(stages[stage]); ++i) {
      const std::int64_t out_size = stage > 0 && i == 0 ? halved(size) : size;
      list.push_back({"layer" + std::to_string(stage + 1) + "." + std::to_string(i), channels,
                      width, size, parameters.flag("stride_in_3x3") ? size : out_size, out_size,
                      i == 0});
      channels = list.back().out_channels();
      size = out_size;
    }
  return list;
}

std::string limits(const Parameters& parameters) {
  const std::size_t stages = parameters.list("blocks").size();
  const std::string whys[] = {
      stages == 0 ? "blocks is empty" : "",
      most_limit("the number of stages in blocks", std::int64_t(stages), kMostStages),
      most_limit("width", parameters.count("width"), kLargestWidth),
      most_limit("image", parameters.count("image"), kLargestImage)};
  for (const std::string& why : whys)
    if (!why.empty()) return why;
  return {};
}

void add_convolution(std::vector<Tensor>& tensors, const std::string& name, std::int64_t in,
                     std::int64_t out, std::int64_t kernel) {
  tensors.push_back({name + ".weight", in * out * kernel * kernel});
  tensors.push_back({name + "_norm.weight", out});
  tensors.push_back({name + "_norm.bias", out});
}

std::vector<Layer> layers(const Parameters& parameters) {
  const std::int64_t width = parameters.count("width"), classes = parameters.count("classes");
  Layer stem = {"conv1", LayerKind::Embedding, {}};
  add_convolution(stem.tensors, "conv1", kColors, width, kStemKernel);
  std::vector<Layer> list = {stem};
  std::int64_t channels = width;
  for (const Bottleneck& block : bottlenecks(parameters)) {
    Layer layer = {block.name, LayerKind::Block, {}};
    channels = block.out_channels();
    add_convolution(layer.tensors, "reduce", block.in_channels, block.width, 1);
    add_convolution(layer.tensors, "spatial", block.width, block.width, 3);
    add_convolution(layer.tensors, "expand", block.width, channels, 1);
    if (block.projects) add_convolution(layer.tensors, "shortcut", block.in_channels, channels, 1);
    list.push_back(layer);
  }
  list.push_back(
      {"fc", LayerKind::Head, {{"fc.weight", channels * classes}, {"fc.bias", classes}}});
  return list;
}

double image_elements(const Slice& slice, std::int64_t channels, std::int64_t size) {
  return double(slice.micro_batch) * double(channels * size * size);
}

Bytes image_bytes(const Slice& slice, std::int64_t channels, std::int64_t size) {
  return Bytes(activation_bytes(slice.type) * image_elements(slice, channels, size));
}

// Input and output each turned round by a kernel that reads and writes them: forward, for the input
// gradient and for the weight gradient.
void turn_round(Operation& op, Bytes input, Bytes output) {
  const Piece in = {"layout", elementwise(2 * input)}, out = {"layout", elementwise(2 * output)};
  for (auto* pass : {&op.forward, &op.backward_input, &op.backward_weight})
    if (!pass->empty()) pass->insert(pass->end(), {in, out});
  op.backward = op.backward_input;
  op.backward.insert(op.backward.end(), op.backward_weight.begin(), op.backward_weight.end());
}

// Convolution and batch norm. The norm reads its input twice (statistics, then the result) and
// writes once; backward reads input and gradient twice and writes once; cuDNN does each in one
// kernel.
void add_convolution(std::vector<Operation>& operations, const GemmNames& names,
                     std::string_view norm, const Slice& slice, Convolution shape,
                     bool has_input_gradient = true) {
  shape.samples = slice.micro_batch;
  operations.push_back(convolution_operation(names, shape, slice.type, has_input_gradient));
  const Bytes output = image_bytes(slice, shape.out_channels, shape.out_size);
  if (slice.software->channels_first && bytes_of(slice.type) == 2)
    turn_round(operations.back(), image_bytes(slice, shape.in_channels, shape.in_size), output);
  operations.push_back(
      elementwise_operation(norm, elementwise(3 * output), elementwise(5 * output), output));
}

LayerWork stem_work(const Parameters& parameters, const Slice& slice) {
  const std::int64_t width = parameters.count("width"), image = parameters.count("image");
  const std::int64_t size = halved(image), pooled = halved(size);
  std::vector<Operation> operations;
  add_convolution(operations, kStem, "conv1_norm", slice,
                  {.in_channels = kColors,
                   .out_channels = width,
                   .kernel = kStemKernel,
                   .in_size = image,
                   .out_size = size},
                  false);
  if (!slice.fuses_norms())
    operations.push_back(relu_operation("relu", image_elements(slice, width, size), slice.type));
  const Bytes in = image_bytes(slice, width, size), out = image_bytes(slice, width, pooled);
  const Bytes indices(8 * image_elements(slice, width, pooled));
  const Work pool = elementwise(in + out + indices);
  operations.push_back(elementwise_operation("max_pool", pool, pool, in + indices));
  return assembled_layer(operations, LayerKind::Embedding, Bytes(0), out, Recompute::None);
}

// The shortcut's sum reads two and writes one image, fused with the norm before it reads one more;
// backward the gradients of the two branches meet at the block's input and are added there.
LayerWork block_work(const Bottleneck& block, const Slice& slice) {
  const std::int64_t out = block.out_channels();
  const Bytes input = image_bytes(slice, block.in_channels, block.in_size);
  const Bytes output = image_bytes(slice, out, block.out_size);
  const bool fused = slice.fuses_norms();
  std::vector<Operation> operations;
  const auto add_relu = [&](std::string_view name, std::int64_t channels, std::int64_t size) {
    if (!fused)
      operations.push_back(relu_operation(name, image_elements(slice, channels, size), slice.type));
  };
  add_convolution(operations, kReduce, "reduce_norm", slice,
                  {.in_channels = block.in_channels,
                   .out_channels = block.width,
                   .in_size = block.in_size,
                   .out_size = block.middle_size});
  add_relu("reduce_relu", block.width, block.middle_size);
  add_convolution(operations, kSpatial, "spatial_norm", slice,
                  {.in_channels = block.width,
                   .out_channels = block.width,
                   .kernel = 3,
                   .in_size = block.middle_size,
                   .out_size = block.out_size});
  add_relu("spatial_relu", block.width, block.out_size);
  add_convolution(operations, kExpand, "expand_norm", slice,
                  {.in_channels = block.width,
                   .out_channels = out,
                   .in_size = block.out_size,
                   .out_size = block.out_size});
  if (block.projects) {
    const std::size_t shortcut = operations.size();
    add_convolution(operations, kShortcut, "shortcut_norm", slice,
                    {.in_channels = block.in_channels,
                     .out_channels = out,
                     .in_size = block.in_size,
                     .out_size = block.out_size});
    operations[shortcut].saved = Bytes(0);
  }
  operations.push_back(elementwise_operation("shortcut_sum", elementwise((fused ? 1 : 3) * output),
                                             elementwise(3 * input), Bytes(0)));
  add_relu("relu", out, block.out_size);
  return assembled_layer(operations, LayerKind::Block, input, output, slice.recompute);
}

LayerWork head_work(const Bottleneck& last, const Parameters& parameters, const Slice& slice) {
  const std::int64_t channels = last.out_channels(), classes = parameters.count("classes");
  const Bytes image = image_bytes(slice, channels, last.out_size);
  const Bytes pooled = image_bytes(slice, channels, 1);
  const Work pool = elementwise(image + pooled);
  LayerWork work = assembled_layer(
      {elementwise_operation("average_pool", pool, pool, image),
       linear_operation(kClassifier, slice.micro_batch, channels, classes, slice.type),
       classification_loss(slice.micro_batch, classes)},
      LayerKind::Head, image, Bytes(0), Recompute::None);
  work.logits = Bytes(4.0 * double(slice.micro_batch) * double(classes));
  return work;
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const std::vector<Bottleneck> blocks = bottlenecks(model.parameters);
  switch (model.layers[std::size_t(layer)].kind) {
    case LayerKind::Embedding:
      return stem_work(model.parameters, slice);
    case LayerKind::Block:
      return block_work(blocks[std::size_t(layer - 1)], slice);
    case LayerKind::Head:
      return head_work(blocks.back(), model.parameters, slice);
  }
  SIM_CHECK(false, "a layer of no kind");
}

}  // namespace

ModelFamily resnet_family() {
  return {.name = "resnet",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = unsplit_limit,
          .is_sequence = false,
          .source = "He et al. 2015, arXiv:1512.03385; torchvision resnet.py"};
}

}  // namespace windtunnel

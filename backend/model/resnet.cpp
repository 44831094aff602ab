// Bottleneck ResNets: sim/model/resnet.cpp.
// Batch norm uses the statistics of the micro-batch on its rank, as PyTorch's does without
// synchronisation, and keeps no running ones: data-parallel ranks compute what one process computes
// when its micro-batches hold the same samples.
#include <cmath>

#include "backend/model/families.hpp"
#include "backend/model/operations.hpp"
#include "backend/model/parameter_draws.hpp"
#include "backend/model/tensor_parallel.hpp"

namespace windtunnel {
namespace {

constexpr std::int64_t kColors = 3, kStemKernel = 7, kExpansion = 4;
// Source: torch.nn.BatchNorm2d.
constexpr double kEpsilon = 1e-5, kMomentum = 0.1;

// Block `index` of all stages; `stride` of its 3x3, or of its first 1x1 in version 1.
struct Bottleneck {
  std::int64_t in_channels = 0, width = 0, stride = 1;
  bool projects = false;
  std::int64_t out_channels() const { return kExpansion * width; }
};

Bottleneck bottleneck(const Parameters& parameters, int index) {
  Bottleneck block = {parameters.count("width"), parameters.count("width")};
  for (const double blocks : parameters.list("blocks")) {
    const bool is_first_stage = block.in_channels == block.width;
    if (index < int(blocks)) {
      block.projects = index == 0;
      block.stride = index == 0 && !is_first_stage ? 2 : 1;
      if (index > 0) block.in_channels = block.out_channels();
      return block;
    }
    index -= int(blocks);
    block.in_channels = block.out_channels();
    block.width *= 2;
  }
  SIM_CHECK(false, "a block after the last stage");
}

struct NormedConvolution {
  at::Tensor weight, norm_weight, norm_bias;
  std::int64_t stride = 1;

  at::Tensor operator()(const at::Tensor& x, LayerContext& context) const {
    const at::Tensor y = convolution(x, weight, {}, stride, (weight.size(2) - 1) / 2, context);
    return at::batch_norm(y, norm_weight, norm_bias, {}, {}, true, kMomentum, kEpsilon, true);
  }
};

class ConvolutionLayer : public LayerModule {
 public:
  explicit ConvolutionLayer(const LayerArguments& arguments)
      : context_(arguments.context), draws_(context_, arguments.seed, arguments.layer) {}

 protected:
  // Kaiming, fan out. Source: He et al. 2015, arXiv:1502.01852; torchvision resnet.py.
  NormedConvolution drawn_convolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                                      std::int64_t stride) {
    const double deviation = std::sqrt(2.0 / double(out * kernel * kernel));
    const NormedConvolution drawn = {
        draws_.normal({out, in, kernel, kernel}, Split::None, deviation), draws_.constant(out, 1),
        draws_.constant(out, 0), stride};
    parameters_.insert(parameters_.end(), {drawn.weight, drawn.norm_weight, drawn.norm_bias});
    return drawn;
  }

  LayerContext& context_;
  ParameterDraws draws_;
};

class Stem : public ConvolutionLayer {
 public:
  explicit Stem(const LayerArguments& arguments)
      : ConvolutionLayer(arguments),
        convolution_(
            drawn_convolution(kColors, arguments.parameters().count("width"), kStemKernel, 2)) {}

  at::Tensor forward(const at::Tensor&, const MicroBatch& batch) override {
    return at::max_pool2d(convolution_(batch.input, context_).relu_(), {3, 3}, {2, 2}, {1, 1});
  }

 private:
  NormedConvolution convolution_;
};

class BottleneckLayer : public ConvolutionLayer {
 public:
  explicit BottleneckLayer(const LayerArguments& arguments) : ConvolutionLayer(arguments) {
    const Bottleneck block = bottleneck(arguments.parameters(), arguments.layer - 1);
    const bool strides_in_3x3 = arguments.parameters().flag("stride_in_3x3");
    reduce_ =
        drawn_convolution(block.in_channels, block.width, 1, strides_in_3x3 ? 1 : block.stride);
    spatial_ = drawn_convolution(block.width, block.width, 3, strides_in_3x3 ? block.stride : 1);
    expand_ = drawn_convolution(block.width, block.out_channels(), 1, 1);
    if (block.projects)
      shortcut_ = drawn_convolution(block.in_channels, block.out_channels(), 1, block.stride);
  }

  at::Tensor forward(const at::Tensor& input, const MicroBatch&) override {
    const at::Tensor reduced = reduce_(input, context_).relu_();
    const at::Tensor middle = spatial_(reduced, context_).relu_();
    const at::Tensor expanded = expand_(middle, context_);
    const at::Tensor shortcut = shortcut_.weight.defined() ? shortcut_(input, context_) : input;
    return (expanded + shortcut).relu_();
  }

 private:
  NormedConvolution reduce_, spatial_, expand_, shortcut_;
};

class ClassifierLayer : public LayerModule {
 public:
  explicit ClassifierLayer(const LayerArguments& arguments) : context_(arguments.context) {
    const Parameters& parameters = arguments.parameters();
    const std::int64_t channels = bottleneck(parameters, arguments.layer - 2).out_channels();
    const std::int64_t classes = parameters.count("classes");
    ParameterDraws draws(context_, arguments.seed, arguments.layer);
    weight_ = draws.normal({classes, channels});
    bias_ = draws.constant(classes, 0);
    parameters_ = {weight_, bias_};
  }

  at::Tensor forward(const at::Tensor& input, const MicroBatch& batch) override {
    return class_loss(linear(input.mean({2, 3}), weight_, bias_, context_), batch.target);
  }

 private:
  LayerContext& context_;
  at::Tensor weight_, bias_;
};

std::unique_ptr<LayerModule> make(const LayerArguments& arguments) {
  switch (arguments.kind()) {
    case LayerKind::Embedding:
      return std::make_unique<Stem>(arguments);
    case LayerKind::Block:
      return std::make_unique<BottleneckLayer>(arguments);
    case LayerKind::Head:
      return std::make_unique<ClassifierLayer>(arguments);
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::int64_t halved(std::int64_t size) {
  return (size + 1) / 2;
}

std::vector<std::int64_t> output(const Job& job, int layer) {
  const Parameters& parameters = job.model.parameters;
  std::int64_t size = halved(halved(parameters.count("image")));
  std::int64_t channels = parameters.count("width");
  for (int i = 0; i < layer; ++i) {
    const Bottleneck block = bottleneck(parameters, i);
    if (block.stride == 2) size = halved(size);
    channels = block.out_channels();
  }
  return {job.batch.micro, channels, size, size};
}

}  // namespace

FamilyModules resnet_modules() {
  return {.name = "resnet", .make = make, .output_shape = output, .complaint = nullptr};
}

}  // namespace windtunnel

// Vision transformers: sim/model/vit.cpp.
#include <cmath>

#include "backend/model/operations.hpp"
#include "backend/model/tensor_parallel.hpp"
#include "backend/model/transformer.hpp"

namespace windtunnel {
namespace {

// Source: torchvision vision_transformer.py, also for how patches and class token start.
constexpr double kEpsilon = 1e-6;
constexpr std::int64_t kColors = 3;

std::int64_t patches(const Parameters& parameters) {
  const std::int64_t side = parameters.count("image") / parameters.count("patch");
  return side * side;
}

class PatchEmbedding : public LayerModule {
 public:
  explicit PatchEmbedding(const LayerArguments& arguments)
      : context_(arguments.context), patch_(arguments.parameters().count("patch")) {
    const Parameters& parameters = arguments.parameters();
    const std::int64_t hidden = parameters.count("hidden"), inputs = kColors * patch_ * patch_;
    ParameterDraws draws(context_, arguments.seed, arguments.layer);
    class_token_ = draws.constant(hidden, 0);
    weight_ = draws.normal({hidden, kColors, patch_, patch_}, Split::None,
                           std::sqrt(1.0 / double(inputs)));
    bias_ = draws.constant(hidden, 0);
    positions_ = draws.normal({patches(parameters) + 1, hidden});
    parameters_ = {class_token_, weight_, bias_, positions_};
  }

  at::Tensor forward(const at::Tensor&, const MicroBatch& batch) override {
    const at::Tensor image = convolution(batch.input, weight_, bias_, patch_, 0, context_);
    const at::Tensor tokens = image.flatten(2).permute({2, 0, 1});
    const at::Tensor first = class_token_.expand({1, tokens.size(1), tokens.size(2)});
    return at::cat({first, tokens}) + positions_.unsqueeze(1);
  }

 private:
  LayerContext& context_;
  std::int64_t patch_;
  at::Tensor class_token_, weight_, bias_, positions_;
};

class ClassHead : public LayerModule {
 public:
  explicit ClassHead(const LayerArguments& arguments) : context_(arguments.context) {
    const Parameters& parameters = arguments.parameters();
    const std::int64_t hidden = parameters.count("hidden"), classes = parameters.count("classes");
    ParameterDraws draws(context_, arguments.seed, arguments.layer);
    norm_ = drawn_norm(draws, hidden, kEpsilon);
    weight_ = draws.normal({classes, hidden});
    bias_ = draws.constant(classes, 0);
    parameters_ = {norm_.weight, norm_.bias, weight_, bias_};
  }

  // All tokens are normed, though the class token alone is read: so does torchvision.
  at::Tensor forward(const at::Tensor& input, const MicroBatch& batch) override {
    const at::Tensor token = norm_(input).select(0, 0);
    return class_loss(linear(token, weight_, bias_, context_), batch.target);
  }

 private:
  LayerContext& context_;
  Norm norm_;
  at::Tensor weight_, bias_;
};

std::unique_ptr<LayerModule> make(const LayerArguments& arguments) {
  switch (arguments.kind()) {
    case LayerKind::Embedding:
      return std::make_unique<PatchEmbedding>(arguments);
    case LayerKind::Block:
      return make_block(arguments,
                        {.shape = block_sizes(arguments.parameters()), .epsilon = kEpsilon});
    case LayerKind::Head:
      return std::make_unique<ClassHead>(arguments);
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::vector<std::int64_t> output(const Job& job, int) {
  return hidden_shape(job, patches(job.model.parameters) + 1);
}

}  // namespace

FamilyModules vit_modules() {
  return {.name = "vit", .make = make, .output_shape = output, .complaint = nullptr};
}

}  // namespace windtunnel

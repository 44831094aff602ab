// Multilayer perceptrons: sim/model/mlp.cpp.
#include <cmath>

#include "backend/model/families.hpp"
#include "backend/model/operations.hpp"
#include "backend/model/parameter_draws.hpp"
#include "backend/model/tensor_parallel.hpp"

namespace windtunnel {
namespace {

class LinearLayer : public LayerModule {
 public:
  explicit LinearLayer(const LayerArguments& arguments)
      : context_(arguments.context), kind_(arguments.kind()) {
    const Parameters& parameters = arguments.parameters();
    const std::int64_t in = parameters.count(kind_ == LayerKind::Embedding ? "inputs" : "hidden");
    const std::int64_t out = parameters.count(kind_ == LayerKind::Head ? "outputs" : "hidden");
    ParameterDraws draws(context_, arguments.seed, arguments.layer);
    // Before ReLU. Source: He et al. 2015, arXiv:1502.01852, equation 10.
    weight_ = draws.normal({out, in}, Split::None, std::sqrt(2.0 / double(in)));
    bias_ = draws.constant(out, 0);
    parameters_ = {weight_, bias_};
  }

  at::Tensor forward(const at::Tensor& input, const MicroBatch& batch) override {
    const at::Tensor& x = kind_ == LayerKind::Embedding ? batch.input : input;
    const at::Tensor y = linear(x, weight_, bias_, context_);
    return kind_ == LayerKind::Head ? class_loss(y, batch.target) : at::relu(y);
  }

 private:
  LayerContext& context_;
  LayerKind kind_;
  at::Tensor weight_, bias_;
};

std::unique_ptr<LayerModule> make(const LayerArguments& arguments) {
  return std::make_unique<LinearLayer>(arguments);
}

std::vector<std::int64_t> output(const Job& job, int) {
  return {job.batch.micro, job.model.parameters.count("hidden")};
}

}  // namespace

FamilyModules mlp_modules() {
  return {.name = "mlp", .make = make, .output_shape = output, .complaint = nullptr};
}

}  // namespace windtunnel

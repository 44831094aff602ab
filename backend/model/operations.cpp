#include "backend/model/operations.hpp"

#include <array>
#include <tuple>

#include "backend/model/communication.hpp"
#include "backend/model/tensor_parallel.hpp"

namespace windtunnel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

class EmbeddingNorm : public Function<EmbeddingNorm> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, double epsilon, std::int64_t context_handle) {
    const auto [y, mean, deviation] = at::native_layer_norm(x, {x.size(-1)}, weight, bias, epsilon);
    state->saved_data["context"] = context_handle;
    state->save_for_backward({x, weight, bias, mean, deviation});
    return y;
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    const variable_list saved = state->get_saved_variables();
    const at::Tensor& x = saved[0];
    const auto [of_x, of_weight, of_bias] = at::native_layer_norm_backward(
        gradients[0], x, {x.size(-1)}, saved[3], saved[4], saved[1], saved[2], {true, true, true});
    const at::Tensor both = at::cat({of_weight, of_bias});
    sum_gradient(both, context_of(state));
    return {of_x, both.narrow(0, 0, x.size(-1)), both.narrow(0, x.size(-1), x.size(-1)), {}, {}};
  }
};

class RmsNorm : public Function<RmsNorm> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, const at::Tensor& weight,
                            double epsilon) {
    const at::Tensor wide = x.to(at::kFloat);
    const at::Tensor scale = at::rsqrt(wide.square().mean(-1, true).add_(epsilon));
    state->save_for_backward({x, weight, scale});
    return (wide * scale).mul_(weight).to(x.scalar_type());
  }

  // With n = x scale: d weight = sum(dy n), dx = scale (dy weight - n mean(dy weight n)).
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    const variable_list saved = state->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scale = saved[2];
    const at::Tensor normal = x.to(at::kFloat).mul(scale), output = gradients[0].to(at::kFloat);
    const at::Tensor of_weight = (output * normal).reshape({-1, x.size(-1)}).sum(0);
    const at::Tensor inner = output * weight;
    const at::Tensor of_x = (inner - normal * (inner * normal).mean(-1, true)).mul_(scale);
    return {of_x.to(x.scalar_type()), of_weight.to(weight.scalar_type()), {}};
  }
};

class Convolution2d : public Function<Convolution2d> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, const at::Tensor& weight,
                            const MaybeTensor& maybe_bias, std::int64_t stride,
                            std::int64_t padding, std::int64_t context_handle) {
    const at::Tensor bias = maybe_bias.value_or(at::Tensor());
    state->saved_data["context"] = context_handle;
    state->saved_data["stride"] = stride;
    state->saved_data["padding"] = padding;
    state->save_for_backward({x, weight, bias});
    return at::conv2d(x, weight, bias, stride, padding);
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    const variable_list saved = state->get_saved_variables();
    const std::int64_t stride = state->saved_data["stride"].toInt();
    const std::int64_t padding = state->saved_data["padding"].toInt();
    const bool has_bias = saved[2].defined(), has_input_gradient = state->needs_input_grad(0);
    const bool at_once = context.deferred == nullptr;
    auto [of_x, of_weight, of_bias] = backward_of(gradients[0], saved[0], saved[1], stride, padding,
                                                  {has_input_gradient, at_once, has_bias});
    if (!at_once)
      context.deferred->push_back({saved[1], [x = saved[0], weight = saved[1],
                                              output = gradients[0], stride, padding]() mutable {
                                     const at::Tensor gradient = std::get<1>(backward_of(
                                         output, x, weight, stride, padding, {false, true, false}));
                                     x.reset();
                                     weight.reset();
                                     output.reset();
                                     return gradient;
                                   }});
    return {of_x, of_weight, of_bias, {}, {}, {}};
  }

 private:
  static std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_of(
      const at::Tensor& output, const at::Tensor& x, const at::Tensor& weight, std::int64_t stride,
      std::int64_t padding, std::array<bool, 3> wanted) {
    const std::array<std::int64_t, 1> bias_size = {weight.size(0)};
    return at::convolution_backward(output, x, weight, at::IntArrayRef(bias_size), {stride, stride},
                                    {padding, padding}, {1, 1}, false, {0, 0}, 1, wanted);
  }
};

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      double epsilon) {
  return at::layer_norm(x, {x.size(-1)}, weight, bias, epsilon);
}

at::Tensor embedding_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          double epsilon, LayerContext& context) {
  if (!splits_sequence(context)) return layer_norm(x, weight, bias, epsilon);
  return EmbeddingNorm::apply(x, weight, bias, epsilon, handle_of(context));
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  return RmsNorm::apply(x, weight, epsilon);
}

at::Tensor tanh_gelu(const at::Tensor& x) {
  return at::gelu(x, "tanh");
}

at::Tensor swiglu(const at::Tensor& x) {
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  return at::silu(halves[0]) * halves[1];
}

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       std::int64_t stride, std::int64_t padding, LayerContext& context) {
  return Convolution2d::apply(x, weight, maybe(bias), stride, padding, handle_of(context));
}

at::Tensor class_loss(const at::Tensor& logits, const at::Tensor& target) {
  return at::cross_entropy_loss(logits.to(at::kFloat), target);
}

}  // namespace windtunnel

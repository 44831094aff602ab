// Operations of layers on one rank, with autograd.
#pragma once

#include "backend/model/layer_module.hpp"

namespace windtunnel {

// Over the last dimension. Weight and bias are leaves [h].
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      double epsilon);
// The same in an embedding under sequence parallelism, where every rank sees its own tokens: sums
// the gradients of weight and bias over the tensor group, as nothing later does.
at::Tensor embedding_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          double epsilon, LayerContext& context);
// y = weight x / sqrt(mean(x^2) + epsilon), statistics in fp32. Source: Zhang and Sennrich 2019,
// arXiv:1910.07467.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// GELU in its tanh form. Source: Hendrycks and Gimpel 2016, arXiv:1606.08415; GPT-2, Megatron-LM.
at::Tensor tanh_gelu(const at::Tensor& x);
// silu(gate) * up of x = [gate, up] along the last dimension. Source: Shazeer 2020,
// arXiv:2002.05202.
at::Tensor swiglu(const at::Tensor& x);

// x [b, c, size, size], weight [out, c, k, k], bias [out] or undefined. Weight gradients are
// deferrable as a linear's.
at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       std::int64_t stride, std::int64_t padding, LayerContext& context);

// Mean cross entropy of logits [b, classes] in fp32 with targets [b].
at::Tensor class_loss(const at::Tensor& logits, const at::Tensor& target);

}  // namespace windtunnel

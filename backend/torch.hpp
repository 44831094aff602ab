// LibTorch 1.13 and 2.4 or newer from one source: every difference between versions is in this
// file.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/version.h>

#define WINDTUNNEL_TORCH (TORCH_VERSION_MAJOR * 100 + TORCH_VERSION_MINOR)

namespace windtunnel {

// An argument of a Function that may be missing: undefined tensors are no arguments of
// LibTorch 1.13.
#if WINDTUNNEL_TORCH >= 204
using MaybeTensor = std::optional<at::Tensor>;
#else
using MaybeTensor = c10::optional<at::Tensor>;
#endif
inline MaybeTensor maybe(const at::Tensor& tensor) {
  return tensor.defined() ? MaybeTensor(tensor) : MaybeTensor();
}

// Softmax(q k^T / sqrt(d) + bias) v on [b, a, s, d] in one kernel where LibTorch has one.
inline constexpr bool kHasFusedAttention = WINDTUNNEL_TORCH >= 200;
inline at::Tensor fused_attention([[maybe_unused]] const at::Tensor& q,
                                  [[maybe_unused]] const at::Tensor& k,
                                  [[maybe_unused]] const at::Tensor& v,
                                  [[maybe_unused]] const at::Tensor& bias,
                                  [[maybe_unused]] bool is_causal) {
#if WINDTUNNEL_TORCH >= 200
  if (bias.defined()) return at::scaled_dot_product_attention(q, k, v, bias, 0.0, is_causal);
  return at::scaled_dot_product_attention(q, k, v, {}, 0.0, is_causal);
#else
  return {};
#endif
}

}  // namespace windtunnel

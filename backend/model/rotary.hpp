// Rotary positions. Source: Su et al. 2021, arXiv:2104.09864.
#pragma once

#include "backend/torch.hpp"

namespace windtunnel {

// x [s, ..., d] of tokens at `positions` [s]: turns each pair (x_i, x_{i + d/2}) by the angle
// position * base^(-2 i / d). d is even.
at::Tensor rotated(const at::Tensor& x, const at::Tensor& positions);

}  // namespace windtunnel

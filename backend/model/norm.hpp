// LayerNorm, or RMSNorm when there is no bias, over the last dimension.
#pragma once

#include <vector>

#include "backend/model/parameter_draws.hpp"

namespace windtunnel {

struct Norm {
  at::Tensor weight, bias;
  double epsilon = 0;
  at::Tensor operator()(const at::Tensor& x) const;
};
Norm drawn_norm(ParameterDraws& draws, std::int64_t features, double epsilon, bool biased = true);

}  // namespace windtunnel

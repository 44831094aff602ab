#include "backend/model/norm.hpp"

#include "backend/model/operations.hpp"

namespace windtunnel {

at::Tensor Norm::operator()(const at::Tensor& x) const {
  return bias.defined() ? layer_norm(x, weight, bias, epsilon) : rms_norm(x, weight, epsilon);
}

Norm drawn_norm(ParameterDraws& draws, std::int64_t features, double epsilon, bool biased) {
  Norm norm = {draws.constant(features, 1), {}, epsilon};
  if (biased) norm.bias = draws.constant(features, 0);
  return norm;
}

}  // namespace windtunnel

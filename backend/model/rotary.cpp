#include "backend/model/rotary.hpp"

#include <vector>

namespace windtunnel {
namespace {

// Source: Vaswani et al.'s base as Su et al. use it; Llama 2.
constexpr double kBase = 10000;

}  // namespace

at::Tensor rotated(const at::Tensor& x, const at::Tensor& positions) {
  const std::int64_t tokens = x.size(0), half = x.size(-1) / 2;
  const at::TensorOptions wide = x.options().dtype(at::kFloat);
  const at::Tensor frequencies = at::pow(kBase, at::arange(half, wide) * (-1.0 / double(half)));
  std::vector<std::int64_t> shape(std::size_t(x.dim()), 1);
  shape.front() = tokens;
  shape.back() = half;
  const at::Tensor angles = at::outer(positions.to(at::kFloat), frequencies).view(shape);
  const at::Tensor cosine = angles.cos().to(x.scalar_type());
  const at::Tensor sine = angles.sin().to(x.scalar_type());
  const at::Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, -1);
}

}  // namespace windtunnel

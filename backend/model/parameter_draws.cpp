#include "backend/model/parameter_draws.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include "base/mix.hpp"

namespace windtunnel {

at::Tensor ParameterDraws::full_normal(const std::vector<std::int64_t>& shape, double deviation) {
  const std::uint64_t seed = mix(mix(seed_ + std::uint64_t(layer_)) + std::uint64_t(tensor_++));
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::empty(shape, at::kFloat).normal_(0, deviation, generator);
}

at::Tensor ParameterDraws::leaf(const at::Tensor& full, Split split) const {
  at::Tensor part = full;
  if (split != Split::None) {
    const int dimension = int(split);
    const std::int64_t size = full.size(dimension) / context_.tensor_size();
    part = full.narrow(dimension, context_.tensor_rank() * size, size);
  }
  // A copy of the part alone, so that the full tensor's memory goes.
  return at::empty(part.sizes(), part.options().dtype(context_.type).device(context_.device))
      .copy_(part)
      .set_requires_grad(!frozen_);
}

at::Tensor ParameterDraws::normal(const std::vector<std::int64_t>& shape, Split split,
                                  double deviation) {
  const at::NoGradGuard no_grad;
  return leaf(full_normal(shape, deviation), split);
}

at::Tensor ParameterDraws::constant(std::int64_t size, double value, Split split) {
  const at::NoGradGuard no_grad;
  ++tensor_;
  return leaf(at::full({size}, value, at::kFloat), split);
}

at::Tensor ParameterDraws::stacked(std::int64_t stacks, std::int64_t rows, std::int64_t columns) {
  const at::NoGradGuard no_grad;
  const at::Tensor full = full_normal({stacks, rows, columns}, kWeightDeviation);
  const std::int64_t size = rows / context_.tensor_size();
  const at::Tensor part = full.narrow(1, context_.tensor_rank() * size, size);
  return leaf(part.reshape({stacks * size, columns}), Split::None);
}

at::Tensor ParameterDraws::experts(const std::vector<std::int64_t>& shape, int split) {
  const at::NoGradGuard no_grad;
  const auto part_of = [](const at::Tensor& whole, int dimension, const Group* group) {
    const std::int64_t size = whole.size(dimension) / LayerContext::size_of(group);
    return whole.narrow(dimension, LayerContext::rank_in(group) * size, size);
  };
  const at::Tensor own = part_of(full_normal(shape, kWeightDeviation), 0, context_.expert);
  const at::Tensor part = part_of(own, split, context_.expert_tensor);
  return leaf(part.reshape({part.size(0), -1, part.size(-1)}), Split::None);
}

}  // namespace windtunnel

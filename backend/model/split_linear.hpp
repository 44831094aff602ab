// A linear of a block, split over the tensor-parallel ranks, and the adapter that may stand beside
// it. With an adapter both multiply the same input, gathered once, and their input gradients are
// summed over the ranks together.
#pragma once

#include <optional>

#include "backend/model/adapter.hpp"

namespace windtunnel {

struct SplitLinear {
  LinearSplit split = LinearSplit::Columns;
  at::Tensor weight{}, bias{};  // this rank's rows or columns; bias may be undefined
  std::optional<Adapter> adapter{};

  // x as column_parallel_linear or row_parallel_linear (tensor_parallel.hpp) take it.
  at::Tensor operator()(const at::Tensor& x, LayerContext& context) const;
};

}  // namespace windtunnel

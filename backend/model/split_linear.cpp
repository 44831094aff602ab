#include "backend/model/split_linear.hpp"

#include "backend/model/tensor_parallel.hpp"

namespace windtunnel {

at::Tensor SplitLinear::operator()(const at::Tensor& x, LayerContext& context) const {
  if (split == LinearSplit::Rows) {
    const at::Tensor y = row_parallel_linear(x, weight, bias, context);
    return adapter ? y + (*adapter)(x) : y;
  }
  if (!adapter) return column_parallel_linear(x, weight, bias, context);
  const at::Tensor whole = shared_by_ranks(x, context);
  return linear(whole, weight, bias, context) + (*adapter)(whole);
}

}  // namespace windtunnel

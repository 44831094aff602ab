// A low-rank adapter beside a linear that is split over the tensor-parallel ranks, with the
// collectives of sim/model/adapter.hpp: y += (alpha / r) (x A) B, where alpha = 2 r (MLPerf's Llama
// 2 70B LoRA: 32 and 16). A is drawn and B starts at zero, so that training starts from the frozen
// model.
// Source: Hu et al. 2021, arXiv:2106.09685, section 4.1.
#pragma once

#include <vector>

#include "backend/model/layer_module.hpp"
#include "backend/model/parameter_draws.hpp"
#include "model/adapter.hpp"

namespace windtunnel {

class Adapter {
 public:
  // Of a linear from `in` to `out` features. The context must outlive it.
  Adapter(ParameterDraws& draws, std::int64_t rank, std::int64_t in, std::int64_t out,
          LinearSplit split, LayerContext& context);

  // In the order of sim/model's adapter_tensors.
  std::vector<at::Tensor> parameters() const { return {down_, up_}; }
  // What it adds to the linear's output, for what the linear multiplies: beside columns x [s, b,
  // in] to [s, b, out/t]; beside rows x [s, b, in/t] to [s, b, out], or this rank's s/t tokens of
  // it under sequence parallelism.
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  LinearSplit split_;
  LayerContext& context_;
  at::Tensor down_, up_;  // A: [r/t, in] beside columns, [r, in/t] beside rows; B: [out/t, r]
};

}  // namespace windtunnel

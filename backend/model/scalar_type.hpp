// LibTorch's name of a format.
#pragma once

#include "backend/torch.hpp"
#include "base/work.hpp"

namespace windtunnel {

// Of tensors: tf32 is what GEMMs make of fp32 ones. Requires a format of run_complaint's, or tf32.
inline at::ScalarType scalar_type(DType type) {
  switch (type) {
    case DType::Fp16:
      return at::kHalf;
    case DType::Bf16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

}  // namespace windtunnel

// The kernels of a grid, ready to run on a device.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/calibrate/kernel_grid.hpp"

namespace windtunnel {

struct KernelShape {
  std::string text;  // "1024 x 256 x 256"
  double size = 0;   // of one kernel, as the efficiency curve of its class counts: FLOPs or bytes
  double work = 0;   // FLOPs or bytes, as sim/model counts them
  // Makes the operands and returns what runs on them, without gradients unless it says otherwise.
  std::function<std::function<void()>()> prepared;
};
using KernelShapes = std::vector<KernelShape>;

// By FLOPs; tensors are on `place`.
KernelShape gemm_shape(const GemmShape& shape, DType type, at::Device place);
// Unfused: two batched GEMMs and a softmax on [heads, s, head size]. Fused: forward passes, and
// backward passes of 2.5 times the FLOPs, at the mean size of the four kernels of both.
KernelShapes attention_shapes(const KernelGrid& grid, at::Device place);
KernelShapes convolution_shapes(const KernelGrid& grid, at::Device place);
// By bytes.
KernelShapes elementwise_shapes(const KernelGrid& grid, at::Device place);
KernelShapes embedding_shapes(const KernelGrid& grid, at::Device place);
// Adam as the executor updates, as optimizer_traffic counts it: 28 bytes a parameter in fp32, 30
// with fp32 gradients where a 16-bit copy is written.
KernelShapes optimizer_shapes(const KernelGrid& grid, at::Device place);

// A tensor copied to another, by bytes read and written.
KernelShape copy_shape(std::int64_t tensor_bytes, at::Device place);

}  // namespace windtunnel

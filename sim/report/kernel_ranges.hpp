// Which part of the kernel time rests on which efficiency curve of the GPUs' profiles, and whether
// the kernels' sizes are inside the curve's points.
#pragma once

#include <vector>

#include "plan/job.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// One class of kernel on one type of GPU. Parts of that GPU's kernel time, of one run of every
// block by every pipeline coordinate; inside + below + above + constant = share.
struct KernelRange {
  const GpuSpec* gpu = nullptr;  // of the job
  OpClass op = OpClass::Matmul;
  double share = 0;
  double inside = 0, below = 0, above = 0;
  double constant = 0;  // the curve is one number for all sizes
};

// Without classes that take no time. Class Fixed is what a model says of its own times.
std::vector<KernelRange> kernel_ranges(const Job& job, const Plan& plan);

// Whether sizes on the class's curve are FLOPs; else they are bytes.
bool is_by_flops(OpClass op);

}  // namespace windtunnel

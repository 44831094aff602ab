// Kernels by themselves on a CPU core: efficiencies over a grid of shapes, with cold operands.
#pragma once

#include <string>
#include <vector>

#include "backend/calibrate/progress.hpp"
#include "cluster/gpu.hpp"

namespace windtunnel {

struct KernelTimes {
  GpuSpec gpu;
  std::vector<std::string> noise;  // what was refused, and why
};

// One thread, fp32, pinned to the core of this local rank. Peak and memory bandwidth are the best
// that any shape reached, so that efficiencies are parts of them. Before each repetition a sweep
// over memory pushes the operands out of the core's own caches, where a step finds them cold too:
// hot operands make GEMMs look 20 % faster than they are in a step.
KernelTimes measure_kernels(int local_rank, Progress& progress);

inline constexpr double kKernelTasks = 7;

}  // namespace windtunnel

// Kernels by themselves on a CPU core or a GPU: efficiencies over a grid of shapes, with cold
// operands.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backend/calibrate/kernel_grid.hpp"
#include "backend/calibrate/progress.hpp"
#include "backend/execute/device.hpp"
#include "cluster/gpu.hpp"

namespace windtunnel {

struct KernelTimes {
  GpuSpec gpu;
  std::optional<Seconds> issue;    // of a kernel by the host; none on a CPU, which waits for it
  std::vector<std::string> noise;  // what was refused, and why
};

// On the calling thread, by the device's clock. On a CPU core peak and memory bandwidth are the
// best that any shape reached, and efficiencies are parts of them. On a GPU they are parts of what
// `card`, the jobs' GPU, promises, unless a shape beat that; what is not measured (peaks of other
// formats, tiles, power) stays the card's, GEMMs are listed by their shapes, and `sustained` is
// what the grid's GEMM holds on end, two seconds after it began. Where several shapes have one
// size, a curve has the mean over their time. A grid with `sustained` is a GPU's.
KernelTimes measure_kernels(Device& device, const KernelGrid& grid, const GpuSpec& card,
                            Progress& progress);

// Tasks of the above, as the progress counts them.
double kernel_tasks(const KernelGrid& grid);

}  // namespace windtunnel

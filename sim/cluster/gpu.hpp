// One GPU (or one CPU rank) and how long a kernel takes on it.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/units.hpp"
#include "base/work.hpp"

namespace windtunnel {

// Part of the peak that a kernel reaches, by its size: interpolated in log(size) between points,
// constant beyond the ends. Invariant: at least one point, sizes increase, efficiencies in (0, 1].
struct EfficiencyCurve {
  struct Point {
    double size = 0;  // FLOPs for Matmul, Attention, Convolution; bytes for the others
    double efficiency = 1;
  };
  std::vector<Point> points;
  std::string source;
  double at(double size) const;
};

struct GpuSpec {
  std::string name;
  std::string source;
  std::string arch;  // volta, ampere, ada, hopper, blackwell, cpu
  Bytes memory;
  Rate memory_bandwidth;                                         // datasheet
  std::array<std::optional<FlopRate>, kDTypeNames.size()> peak;  // dense, by DType
  std::array<EfficiencyCurve, kOpClassNames.size()> efficiency;  // by OpClass; Fixed has none
  Seconds launch_overhead;                                       // per kernel
  std::optional<Watts> tdp;
};

// Roofline with efficiencies: kernels * launch + max(flops / (peak * e), bytes / (bandwidth *
// e_bytes)). `e` is the curve of the operation's class; e_bytes the Elementwise curve (for
// Optimizer and Embedding their own). Curves are read at the size of one kernel: a work of 10
// kernels has kernels of a tenth of its FLOPs and bytes. A Fixed work takes its duration. Requires
// a peak for `type` when flops > 0.
Seconds kernel_time(const GpuSpec& gpu, const Work& work, DType type);

}  // namespace windtunnel

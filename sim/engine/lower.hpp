// Lowering: a block's layer operations become durations and collectives on one kind of GPU.
#pragma once

#include <vector>

#include "cluster/cluster.hpp"
#include "engine/communicators.hpp"
#include "plan/measured_times.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// Kernels between two collectives are one span of time; a collective may run beside the kernel
// after it.
struct Segment {
  int use = -1;       // index into Communicators::uses; -1: no collective
  Seconds compute;    // runs beside the collective if there is one, so the longer of the two counts
  Seconds recompute;  // part of `compute` that runs forward work again
};

// `slowdown` multiplies every kernel's time. Where a layer's pass was measured, its kernels share
// the measured time as the model divides it, so that they sum to it; the optimizer likewise.
std::vector<Segment> lower(const Block& block, DType type, const GpuSpec& gpu, double slowdown,
                           const MeasuredTimes& measured, const Communicators& communicators);

}  // namespace windtunnel

// Lowering: a block's layer operations become durations and collectives on one kind of GPU.
//
// The host issues kernels in order and waits for blocking transfers only (Compute), the GPU runs
// them in order: a kernel starts when the one before has ended and it has been issued. With the GPU
// free at g and the host at h, a run of kernels therefore ends at max(g + compute, h + late), and
// the host is free at h + host. Such runs compose.
#pragma once

#include <vector>

#include "cluster/cluster.hpp"
#include "engine/communicators.hpp"
#include "plan/job.hpp"
#include "plan/measured_times.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// Kernels between two collectives are one span of time; a collective may run beside the kernel
// after it.
struct Segment {
  int use = -1;       // index into Communicators::uses; -1: no collective
  Seconds compute;    // runs beside the collective if there is one, so the longer of the two counts
  Seconds recompute;  // part of `compute` that runs forward work again
  Seconds memory;     // part of `compute` in kernels that memory binds
  Seconds host;       // issuing all of it, the collective first
  Seconds late;
  double memory_part() const { return compute.value > 0 ? memory / compute : 0; }
};

// `slowdown` multiplies every kernel's time on the GPU. Where a layer's pass was measured, its
// kernels share the measured time as the model divides it, so that they sum to it, and the host's
// part is in it; the optimizer likewise.
//
// `overlaps_experts`: two micro-batches are under way, one computes while the other exchanges its
// tokens (Megatron-Core, overlap_moe_expert_parallel_comm; DeepSeek-AI 2024, arXiv:2412.19437,
// section 3.2.1). Priced pass by pass, as if a pass met its like: a forward exchange runs beside
// the kernels before it, one of the backward pass beside those after it.
std::vector<Segment> lower(const Block& block, DType type, const GpuSpec& gpu, double slowdown,
                           bool overlaps_experts, const Host& host, const MeasuredTimes& measured,
                           const Communicators& communicators);

}  // namespace windtunnel

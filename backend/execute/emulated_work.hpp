// Compute that takes its time without doing anything: a rank sleeps as long as the cluster's GPU
// would compute, and its communication is real. So hosts that share a few cores behave like GPUs.
#pragma once

#include <memory>

#include "backend/execute/rank_groups.hpp"
#include "backend/execute/rank_work.hpp"
#include "cluster/gpu.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// Requires buffers of fp32: sizes are rounded up to 4 bytes. `slowdown` multiplies every kernel's
// time. Plan, GPU and groups must outlive it.
std::shared_ptr<RankWork> make_emulated_work(const Plan& plan, int rank, const GpuSpec& gpu,
                                             double slowdown, const RankGroups& groups);

}  // namespace windtunnel

// Kernels beside a collective: how many times as long they take while all-reduces run on another
// stream, whose kernels, or threads, want the same device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/calibrate/progress.hpp"
#include "backend/comm/rendezvous.hpp"
#include "backend/execute/device.hpp"
#include "backend/execute/rank_groups.hpp"
#include "plan/profile.hpp"

namespace windtunnel {

// What runs beside what.
struct BesideShapes {
  DType type = DType::Fp32;
  std::int64_t gemm = 0;              // a cube of this size is bound by arithmetic
  std::int64_t copied_bytes = 0;      // a copy of a tensor of this size is bound by memory
  std::int64_t all_reduce_bytes = 0;  // of fp32 numbers
};
BesideShapes core_beside();
BesideShapes gpu_beside(DType type);

struct BesideTimes {
  std::vector<SlowdownBeside> slowdowns;
  // On CPUs, of all processes: what all-reduces take from GEMMs, by byte that a member sends.
  std::optional<double> cpu_seconds_per_byte;
  std::vector<std::string> noise;  // what was refused, and why
};

// Called by all processes, as measure_communication is.
BesideTimes measure_beside(const BesideShapes& shapes, const Place& place,
                           const RankGroups::Maker& make_group, Device& device, Progress& progress);

// Tasks of the above, as the progress counts them.
double beside_tasks(int world);

}  // namespace windtunnel

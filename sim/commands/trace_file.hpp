// trace.json, read back: of a simulated run or of a measured one, the format is the same
// (report/README.md).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "plan/plan.hpp"

namespace windtunnel {

using Picoseconds = std::int64_t;

// What slices have in common: an op of a program, or why a compute stream idles.
struct TracedOp {
  std::string name;
  std::string category;  // under which it is coloured: "forward", "all_reduce", "late_sender", ...
  std::string layers;
  double bytes = 0;
  bool operator==(const TracedOp&) const = default;
};

struct TracedSlice {
  int op = 0;  // index into TraceFile::ops
  Picoseconds start = 0, end = 0;
  Picoseconds communication = 0, recompute = 0;  // parts of a compute slice
};

// Slices of a thread do not overlap; in order of start.
struct TracedThread {
  std::string name;  // "compute", "receive 2"
  std::vector<TracedSlice> slices;
};

struct TracedMemory {
  Picoseconds time = 0;
  std::array<double, kMemoryKindNames.size()> bytes{};
  double total() const;
};

struct TracedRank {
  int rank = 0, stage = 0, represented = 1;
  std::vector<TracedThread> threads;  // compute first
  std::vector<TracedSlice> idle;      // of the compute stream
  std::vector<TracedMemory> memory;   // after each change
};

struct TraceFile {
  std::vector<TracedOp> ops;
  std::vector<TracedRank> ranks;  // by rank
};

// Throws ConfigError for whatever is missing or wrong.
TraceFile trace_file(const std::filesystem::path& path);

}  // namespace windtunnel

// A block of the plan as one simulated rank runs it: by segments, or as one span.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "engine/lower.hpp"

namespace windtunnel {

// How long kernels take of which a collective takes a share of the GPU while it runs: slowed down
// during it, at full speed after it.
inline Seconds beside(Seconds kernels, Seconds collective, double share) {
  return std::min(kernels / (1 - share), kernels + collective * share);
}

// A block as one span: exact when its collectives have their links for themselves and their members
// run in lockstep.
struct MergedBlock {
  Seconds total, communication, recompute;  // with a host that is always ahead
  double memory_part = 0;                   // of `total`, in kernels that memory binds
  // Where the host issues slowly: the segments, walked when the block begins, and how long the
  // collective of each takes and what share it takes of the kernels beside it.
  const std::vector<Segment>* segments = nullptr;
  struct Collective {
    Seconds time;
    double share = 0;
  };
  std::vector<Collective> collectives;
  // By its collectives, where this rank counts for their members: path and bytes.
  std::vector<std::pair<int, Bytes>> carried;
  bool has_collectives = false;
  bool only_quiet = false;  // exact in the quiet part of a step only
};

struct RunnableBlock {
  std::optional<MergedBlock> merged;
  const std::vector<Segment>* segments = nullptr;
};

}  // namespace windtunnel

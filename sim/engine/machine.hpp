// The state machines that run programs: per simulated rank its streams, per channel the collective
// under way. Everything that happens is a timer or a flow of the Network; nothing is decided here
// about which ranks or links exist (layout.hpp) or how long a kernel takes (lower.hpp).
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "engine/activity.hpp"
#include "engine/layout.hpp"
#include "engine/lower.hpp"
#include "engine/simulate.hpp"

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
  // Where the host issues slowly: the segments, walked when the block begins, and how long the
  // collective of each takes and which share of the multiprocessors.
  const std::vector<Segment>* segments = nullptr;
  struct Collective {
    Seconds time;
    double share = 0;
  };
  std::vector<Collective> collectives;
  std::vector<std::pair<int, Bytes>> carried;  // by its collectives: path and bytes
};

// What a block is on one simulated rank: one span, or its segments.
struct RunnableBlock {
  std::optional<MergedBlock> merged;
  const std::vector<Segment>* segments = nullptr;
};

struct MachineInput {
  const Plan& plan;
  const Communication& communication;
  const Communicators& communicators;
  const Layout& layout;
  // By simulated rank and block of the plan; only the blocks of the rank's own program are set.
  std::vector<std::vector<RunnableBlock>> blocks;
  std::vector<BytesByClass>
      class_share;      // by path: bytes on all links of a class per byte of a flow
  bool rounds = false;  // run collectives round by round
  std::optional<Noise> noise;
  Seconds collective_issue;  // of a collective that is an op by itself
  std::function<void(const Progress&)> on_progress;
};

// Runs the plan to its end. The trace has no link names to know: `links` holds simulated links'
// bytes.
Trace run_machine(const MachineInput& input, Network& network);

}  // namespace windtunnel

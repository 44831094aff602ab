// The state machines that run programs, put together: every rank's streams (streams.hpp) and
// compute (compute.hpp), the collectives (channels.hpp) and messages (transfers.hpp) between them.
// Everything that happens is a timer or a flow of the Network; nothing is decided here about which
// ranks or links exist (layout.hpp) or how long a kernel takes (lower.hpp).
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "engine/activity.hpp"
#include "engine/communicators.hpp"
#include "engine/layout.hpp"
#include "engine/runnable_block.hpp"
#include "engine/simulate.hpp"

namespace windtunnel {

struct MachineInput {
  const Plan& plan;
  const Communication& communication;
  const Communicators& communicators;
  const Layout& layout;
  // By simulated rank and block of the plan; only the blocks of the rank's own program are set.
  std::vector<std::vector<RunnableBlock>> blocks;
  std::vector<BytesByClass>
      class_share;               // by path: bytes on all links of a class per byte of a flow
  std::vector<int> quiet_until;  // by program of the plan: quiet_part.hpp
  bool rounds = false;           // run collectives round by round
  std::optional<Noise> noise;
  Seconds collective_issue;  // of a collective that is an op by itself
  std::function<void(const Progress&)> on_progress;
};

// Runs the plan to its end. The trace has no link names to know: `links` holds simulated links'
// bytes.
Trace run_machine(const MachineInput& input, Network& network);

}  // namespace windtunnel

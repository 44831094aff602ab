// What Gloo's software adds to the time of a collective's bytes on the links.
#pragma once

#include <cstdint>

#include "collectives/collective.hpp"

namespace windtunnel {

struct GlooLatency {
  Seconds operation;  // of a collective, before its first message
  Seconds segment;    // of each segment of a message but its first
};

// Segments into which a ring cuts every message. All-reduce: at most 1 MiB each, at least 2 to a
// message; all-gather: 2. Others send whole messages: 1.
// Source: facebookincubator/gloo, gloo/allreduce.cc and gloo/allgather.cc; 1 MiB: allreduce.h.
std::int64_t gloo_segments(CollectiveKind kind, int members, Bytes size);

// The part of a phase's time that is not its bytes' time W on the links alone. R rounds of k
// segments with a latency `a` of a message and s of each further segment take the longer of
//   W + a                   the links never wait, and
//   W / k + R (a + (k-1) s) every round waits for its first segment and the software of the others.
Seconds gloo_phase_latency(int rounds, std::int64_t segments, Seconds message, Seconds segment,
                           Seconds on_links);

}  // namespace windtunnel

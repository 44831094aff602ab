// What happened when a Plan ran: from the simulator or from real devices, the same type.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.hpp"
#include "cluster/cluster.hpp"

namespace windtunnel {

// One op of one rank. Times count from the start of the step. A collective starts when its last
// member has joined, a receive when its message is on the way and the rank wants it: waiting is not
// part of a span.
struct Span {
  int op = 0;  // index into the program's ops
  Seconds start, end;
  // Parts of a compute span: spent in its tensor-parallel collectives; spent running forward work
  // again, its collectives excluded.
  Seconds communication, recompute;
};

struct RankTrace {
  int rank = 0;             // the rank itself, or the representative of a class
  int represented = 1;      // ranks that this trace stands for, itself included
  int program = 0;          // index into Plan::programs
  std::vector<Span> spans;  // by end time; equal ends in order of op
};

struct LinkLoad {
  int link = 0;  // index into Cluster::links, a representative
  int represented = 1;
  Bytes bytes;  // carried by this one link over the step
};

// What all links of one class carried over time, in equal bins from the start of the step.
struct ClassActivity {
  LinkClass kind = LinkClass::Fabric;
  Rate capacity;             // of all its links that the step uses, together
  std::vector<Bytes> bytes;  // by bin
};

struct Trace {
  std::vector<RankTrace> ranks;         // by rank
  std::vector<LinkLoad> links;          // links that carried something, by index
  Seconds activity_bin;                 // width of a bin of `activity`
  std::vector<ClassActivity> activity;  // classes that carried something
  Seconds end;                          // of the last op of all ranks: the step time
  std::uint64_t events = 0;             // timers and flows that the simulation ran
};

}  // namespace windtunnel

// Sweeps the compute stream of one rank from 0 to the end of the step: what it does, and why it
// idles. The summary adds it up, the page draws it.
#pragma once

#include <array>
#include <functional>
#include <string_view>
#include <vector>

#include "plan/plan.hpp"
#include "report/trace_index.hpp"

namespace windtunnel {

enum class IdleCause {
  WarmUp,              // before the rank's first micro-batch
  Drain,               // after its last one, for ranks of other stages
  LateSender,          // between them: the message is not sent yet
  LateMember,          // a member of an awaited collective has not joined yet: a straggler
  PipelineTransfer,    // the message is on the way
  DataCommunication,   // a gradient reduction or weight gather runs
  OtherCommunication,  // a reduction of replicated or tied tensors, or of the gradient norm, runs
  Unknown,             // the trace shows nothing that it could wait for
};
inline constexpr std::array<std::string_view, 8> kIdleCauseNames = {"warm_up",
                                                                    "drain",
                                                                    "late_sender",
                                                                    "late_member",
                                                                    "pipeline_transfer",
                                                                    "data_communication",
                                                                    "other_communication",
                                                                    "unknown"};

struct Idle {
  Seconds begin, end;
  IdleCause cause = IdleCause::Unknown;
  int awaited = -1;  // op of the rank's program: the transfer that it waits for; -1: none
};

// By op: the op before it on its stream, or -1. Messages overtake one another, so an op of the
// Receive or Transfers stream is behind no other.
std::vector<int> queued_behind(const Program& program);

struct ComputeStreamVisitor {
  // Of one pause the latest part comes first.
  std::function<void(const Idle&)> idle;
  // `duration` is the span's without what a span before it covers: measured spans may overlap by
  // the resolution of their clock.
  std::function<void(const Op&, const Span&, Seconds duration)> busy;
};

// `rank` is an index into the trace's ranks, `behind` the queued_behind of its program.
void sweep_compute_stream(const TraceIndex& index, int rank, const std::vector<int>& behind,
                          Seconds step_end, const ComputeStreamVisitor& visitor);

// The pauses of that rank alone, from first to last.
std::vector<Idle> pauses(const TraceIndex& index, int rank, const std::vector<int>& behind,
                         Seconds step_end);

}  // namespace windtunnel

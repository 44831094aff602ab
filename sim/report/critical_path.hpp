// Which span every span waited for last, and the chain of them that ends with the step.
//
// A compute op waits for the op before it on its stream and for what it awaits; a receive also for
// its sender; a collective for all of that of its last member.
#pragma once

#include <vector>

#include "plan/plan.hpp"
#include "plan/trace.hpp"
#include "report/trace_index.hpp"

namespace windtunnel {

struct SpanRef {
  int rank = -1;  // index into Trace::ranks
  int span = -1;  // index into its spans
  bool exists() const { return rank >= 0; }
  bool operator==(const SpanRef&) const = default;
};

// By rank and span; does not exist for what waited for nothing.
using AwaitedSpans = std::vector<std::vector<SpanRef>>;
AwaitedSpans awaited_spans(const Plan& plan, const Trace& trace, const TraceIndex& index);

// From the span that ends last back to one that waited for nothing.
std::vector<SpanRef> critical_path(const Trace& trace, const AwaitedSpans& awaited);

}  // namespace windtunnel

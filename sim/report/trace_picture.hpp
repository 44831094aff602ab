// The picture of a step: a process for each rank with its streams as threads, arrows from sends to
// receives, memory over time; and a process for the links with their load.
#pragma once

#include "interchange/trace_writer.hpp"
#include "plan/plan.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

void draw_trace(const Plan& plan, const Trace& trace, TraceWriter& writer);

}  // namespace windtunnel

// The Chrome trace event format, which Perfetto (ui.perfetto.dev) and chrome://tracing show.
// Source: "Trace Event Format", Google; Perfetto wants the slices of a thread to nest or not to
// touch, so what overlaps on a stream goes to further threads ("receive 2").
#pragma once

#include <functional>
#include <string_view>

#include "plan/job.hpp"
#include "plan/plan.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

// Hands the text to `sink` in pieces of about a megabyte: a trace of every rank need not fit in
// memory twice.
void write_chrome_trace(const Job& job, const Plan& plan, const Trace& trace,
                        const std::function<void(std::string_view)>& sink);

}  // namespace windtunnel

// From what each rank saw on its own clock to one Trace.
#pragma once

#include <string>
#include <vector>

#include "backend/execute/run_step.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

// `times[rank][op]` of one step, on one clock. As a Trace says: a collective starts when its last
// member has joined, a receive when its message is on the way; a send ends when its message has
// arrived, because a socket takes bytes that the wire has not carried yet.
Trace measured_trace(const Plan& plan, std::vector<std::vector<OpTime>> times);

std::string serialized(const std::vector<OpTime>& times);
std::vector<OpTime> op_times(const std::string& serialized);

}  // namespace windtunnel

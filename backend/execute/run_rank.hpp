// One process of a real run: meets the others, runs the plan's step again and again, and hands the
// times to rank 0.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "backend/comm/rendezvous.hpp"
#include "plan/job.hpp"
#include "plan/plan.hpp"
#include "report/measured_run.hpp"

namespace windtunnel {

// Called by every rank's process; the result comes to rank 0, nothing to the others. `doing` is
// told what the rank is at. Throws BackendError.
std::optional<MeasuredRun> run_rank(const Job& job, const Plan& plan, Rendezvous& rendezvous,
                                    const std::function<void(const std::string&)>& doing);

}  // namespace windtunnel

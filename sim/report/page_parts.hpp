// Sections of the page's data that are small enough to be made as JSON values.
#pragma once

#include <nlohmann/json.hpp>

#include "plan/job.hpp"
#include "plan/plan.hpp"
#include "plan/trace.hpp"
#include "report/report.hpp"

namespace windtunnel {

// Which part of the kernel time rests on which efficiency curve, and whether the kernels' sizes are
// inside the curve's points: by type of GPU and class of kernel.
nlohmann::ordered_json calibration_json(const Job& job, const Plan& plan);

// Load of the classes of links over time, and the busiest links.
nlohmann::ordered_json network_json(const Cluster* cluster, const Trace& trace);

// A few nodes that stand for all, with the load of their links and the ranks on their GPUs.
nlohmann::ordered_json cluster_json(const Cluster* cluster, const Job& job, const Plan& plan,
                                    const Trace& trace, const Report& report);

}  // namespace windtunnel

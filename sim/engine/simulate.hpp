// Runs a Plan on a Cluster in simulated time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "cluster/cluster.hpp"
#include "plan/job.hpp"
#include "plan/measured_times.hpp"
#include "plan/plan.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

struct Progress {
  std::uint64_t events = 0;
  Seconds simulated;
};

// SimGrid: flows share links by max-min fairness. ContentionFree: every flow as if alone; a lower
// bound and a fast screen.
enum class NetworkKind { SimGrid, ContentionFree };

struct Conditions {
  Fidelity fidelity = Fidelity::Folded;
  NetworkKind network = NetworkKind::SimGrid;
  std::vector<Straggler> stragglers;
  std::optional<Noise> noise;
  Host host{};
  MeasuredTimes measured{};
  std::function<void(const Progress&)> on_progress{};  // called now and then; may be empty
};
inline Conditions conditions_of(const Job& job) {
  return {.fidelity = job.fidelity,
          .stragglers = job.stragglers,
          .noise = job.noise,
          .host = job.host,
          .measured = measured_times(job)};
}

// Rank r runs on GPU r of the cluster. Deterministic: the same arguments give the same trace.
Trace simulate(const Plan& plan, const Cluster& cluster, const Conditions& conditions);

}  // namespace windtunnel

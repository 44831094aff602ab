#include "cluster/cpu_node.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.hpp"

namespace windtunnel {

std::string cpu_node_error(const CpuSlots& slots) {
  const long long used = static_cast<long long>(slots.tasks_per_node) * slots.cpus_per_task;
  if (used <= slots.cores) return {};
  return fmt::format("{} tasks of {} CPUs need {} cores and the node has {}.", slots.tasks_per_node,
                     slots.cpus_per_task, used, slots.cores);
}

NodeType cpu_node(NodeType node, const CpuSlots& slots) {
  SIM_CHECK(cpu_node_error(slots).empty(), cpu_node_error(slots));
  const double cores = slots.cpus_per_task, tasks = slots.tasks_per_node;
  GpuSpec& rank = node.gpu;
  rank.name = fmt::format("{} x {}", slots.cpus_per_task, rank.name);
  rank.memory = slots.memory / tasks;
  rank.memory_bandwidth = std::min(rank.memory_bandwidth * cores, slots.memory_bandwidth / tasks);
  for (auto& peak : rank.peak)
    if (peak) *peak = *peak * cores;
  for (EfficiencyCurve& curve : rank.efficiency)
    for (EfficiencyCurve::Point& point : curve.points) point.size *= cores;
  if (rank.tdp) *rank.tdp = *rank.tdp * cores;
  node.gpus = slots.tasks_per_node;
  return node;
}

}  // namespace windtunnel

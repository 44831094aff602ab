// A node of a CPU cluster as Slurm sees it: tasks per node, each bound to some cores. One task is
// one rank, so it stands where a GPU stands elsewhere.
#pragma once

#include "cluster/cluster.hpp"

namespace windtunnel {

struct CpuSlots {
  int cores = 1;  // of the node
  Bytes memory;   // of the node
  Rate memory_bandwidth;
  int tasks_per_node = 1;
  int cpus_per_task = 1;
};

// Why the tasks do not fit on the cores, as a sentence for the user, or empty.
std::string cpu_node_error(const CpuSlots& slots);

// `node.gpu` is one core; the result has one GPU for each task, of cpus_per_task cores:
// peaks and TDP times the cores; memory an equal share of the node's; memory bandwidth what its
// cores can draw, at most an equal share of the node's. Points of efficiency curves move to sizes
// cpus_per_task times as large, because each core gets an equal share of a kernel.
NodeType cpu_node(NodeType node, const CpuSlots& slots);

}  // namespace windtunnel

// The two list notations of Slurm's environment variables, as srun(1) and scontrol(1) describe
// them.
#pragma once

#include <optional>
#include <string>

namespace windtunnel {

// "gpu[003-004,7],login1" -> "gpu003".
std::string slurm_first_host(const std::string& node_list);

// "4(x2),1" -> 4, 4, 1 on nodes 0, 1, 2. Empty when the list says nothing of the node, or is none.
std::optional<int> slurm_tasks_on_node(const std::string& tasks_per_node, int node);

}  // namespace windtunnel

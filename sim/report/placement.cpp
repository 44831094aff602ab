#include "report/placement.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace windtunnel {

std::vector<const GpuSpec*> gpu_of_rank(const Job& job) {
  std::vector<const GpuSpec*> gpus;
  for (const int type : job.cluster.type_of_node) {
    const NodeType& node = job.cluster.node_types[std::size_t(type)];
    const int free = job.gpus - int(gpus.size());
    gpus.insert(gpus.end(), std::size_t(std::clamp(node.gpus, 0, free)), &node.gpu);
  }
  SIM_CHECK(int(gpus.size()) == job.gpus, "the cluster has fewer GPUs than the job");
  return gpus;
}

std::vector<const GpuSpec*> gpu_types(const Job& job) {
  std::vector<const GpuSpec*> types;
  for (const GpuSpec* gpu : gpu_of_rank(job))
    if (std::find(types.begin(), types.end(), gpu) == types.end()) types.push_back(gpu);
  return types;
}

std::vector<Bytes> capacity_by_pipeline(const Job& job, const RankGrid& grid) {
  const std::vector<const GpuSpec*> gpus = gpu_of_rank(job);
  SIM_CHECK(grid.size() <= job.gpus, "more ranks than GPUs");
  std::vector<Bytes> capacity(std::size_t(grid.pipeline), gpus.front()->memory);
  std::vector<bool> seen(capacity.size(), false);
  for (int rank = 0; rank < grid.size(); ++rank) {
    const auto at = std::size_t(grid.coordinates(rank).pipeline);
    const Bytes memory = gpus[std::size_t(rank)]->memory;
    capacity[at] = seen[at] ? std::min(capacity[at], memory) : memory;
    seen[at] = true;
  }
  return capacity;
}

}  // namespace windtunnel

// Which GPU each rank of a job runs on: rank r on GPU r, counted node by node.
#pragma once

#include <vector>

#include "plan/job.hpp"
#include "plan/rank_grid.hpp"

namespace windtunnel {

// By rank. The pointers are into the job.
std::vector<const GpuSpec*> gpu_of_rank(const Job& job);

// The types in use, each once, in the order of their first rank.
std::vector<const GpuSpec*> gpu_types(const Job& job);

// By pipeline coordinate: the memory of the smallest GPU among its ranks.
std::vector<Bytes> capacity_by_pipeline(const Job& job, const RankGrid& grid);

}  // namespace windtunnel

// Interleaved 1F1B: v chunks per device. Forwards go through groups of p micro-batches, chunk by
// chunk within a group; backwards through the same groups with the chunks reversed.
// Time with equal stages (F, B: of all chunks of a device): m (F + B) + (p - 1)(F + B) / v.
// Leaves out: groups of another size than p (microbatch_group_size_per_vp_stage), and the extra
// warm-up forward of overlapped all-to-all.
//
// Source: Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU Clusters
// Using Megatron-LM", arXiv:2104.04473; order as in Megatron-LM,
// megatron/core/pipeline_parallel/schedules.py, get_pp_rank_microbatches and get_schedule_table.
#include <algorithm>
#include <string>
#include <vector>

#include "schedules/families.hpp"

namespace windtunnel {
namespace {

struct ChunkRun {
  int chunk, micro_batch;
};

// The order in which every device goes through its chunks and micro-batches.
std::vector<ChunkRun> chunk_order(int p, int m, int v) {
  std::vector<ChunkRun> order;
  for (int group = 0; group < m; group += p)
    for (int chunk = 0; chunk < v; ++chunk)
      for (int i = group; i < std::min(group + p, m); ++i) order.push_back({chunk, i});
  return order;
}

}  // namespace

std::string interleaved_limits(int p, int m, int v) {
  if (v < 2) return "it needs at least 2 chunks per device (virtual_stages)";
  if (m % p != 0)
    return "the number of micro-batches (" + std::to_string(m) +
           ") must be a multiple of the number of pipeline ranks (" + std::to_string(p) + ")";
  return "";
}

Schedule interleaved_schedule(int p, int m, int v) {
  Schedule schedule = empty_looped_schedule(p, m, v);
  const std::vector<ChunkRun> order = chunk_order(p, m, v);
  const int runs = m * v;
  for (int r = 0; r < p; ++r) {
    auto& list = schedule.actions[r];
    const auto push_forward = [&](int k) {
      list.push_back({ActionType::F, order[k].chunk * p + r, order[k].micro_batch});
    };
    // Twice the distance to the last rank, because the first backward of a rank has to come back
    // through the last chunk; and one group for each chunk but the last.
    const int warm_up = std::min(2 * (p - 1 - r) + (v - 1) * p, runs);
    for (int k = 0; k < warm_up; ++k) push_forward(k);
    for (int k = 0; k < runs; ++k) {
      if (warm_up + k < runs) push_forward(warm_up + k);
      list.push_back({ActionType::B, (v - 1 - order[k].chunk) * p + r, order[k].micro_batch});
    }
  }
  return schedule;
}

}  // namespace windtunnel

// Looped breadth-first: GPipe with v chunks per device, all micro-batches of a chunk before the
// next chunk. Each device stores m v activations of a chunk.
// Time with equal stages (F, B: of all chunks of a device) and m >= p:
// m (F + B) + (p - 1)(F + B) / v.
//
// Source: Lamy-Poirier 2022, "Breadth-First Pipeline Parallelism", arXiv:2211.05953; order as in
// PyTorch, torch/distributed/pipelining/schedules.py, ScheduleLoopedBFS.
#include <string>

#include "schedules/families.hpp"

namespace windtunnel {

std::string looped_bfs_limits(int /*p*/, int /*m*/, int v) {
  return v < 2 ? "it needs at least 2 chunks per device (virtual_stages)" : "";
}

Schedule looped_bfs_schedule(int p, int m, int v) {
  Schedule schedule = empty_looped_schedule(p, m, v);
  for (int r = 0; r < p; ++r) {
    auto& list = schedule.actions[r];
    for (int chunk = 0; chunk < v; ++chunk)
      for (int i = 0; i < m; ++i) list.push_back({ActionType::F, chunk * p + r, i});
    for (int chunk = v; chunk-- > 0;)
      for (int i = m; i-- > 0;) list.push_back({ActionType::B, chunk * p + r, i});
  }
  return schedule;
}

}  // namespace windtunnel

// ZB-H1: 1F1B with the backward split, where stage s runs its weight gradients s backward slots
// late. They fill the bubble at the end; each device stores p activations (m >= p, freed at W).
// Time with equal stages and m >= p: m (F + I + W) + (p - 1) max(F, I, F + I - W).
//
// Source: Qi et al. 2023, "Zero Bubble Pipeline Parallelism", arXiv:2401.10241, section 2; order as
// in PyTorch, torch/distributed/pipelining/schedules.py, ScheduleInterleavedZeroBubble with one
// stage per rank.
#include <algorithm>

#include "schedules/families.hpp"

namespace windtunnel {

Schedule zb_h1_schedule(int p, int m, int v) {
  Schedule schedule = empty_looped_schedule(p, m, v);
  for (int stage = 0; stage < p; ++stage) {
    auto& list = schedule.actions[stage];
    const int warm_up = std::min(p - 1 - stage, m);
    for (int i = 0; i < warm_up; ++i) list.push_back({ActionType::F, stage, i});
    for (int i = 0; i < m; ++i) {
      if (warm_up + i < m) list.push_back({ActionType::F, stage, warm_up + i});
      list.push_back({ActionType::I, stage, i});
      if (i >= stage) list.push_back({ActionType::W, stage, i - stage});
    }
    for (int i = std::max(m - stage, 0); i < m; ++i) list.push_back({ActionType::W, stage, i});
  }
  return schedule;
}

}  // namespace windtunnel

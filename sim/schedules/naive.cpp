// Model parallelism without pipelining: one micro-batch is in the whole pipeline at a time.
// Time with equal stages: m p (F + B).
//
// Source: Huang et al. 2018, "GPipe", arXiv:1811.06965, figure 2(b).
#include "schedules/families.hpp"

namespace windtunnel {

Schedule naive_schedule(int p, int m, int v) {
  Schedule schedule = empty_looped_schedule(p, m, v);
  for (int stage = 0; stage < p; ++stage)
    for (int i = 0; i < m; ++i) {
      schedule.actions[stage].push_back({ActionType::F, stage, i});
      schedule.actions[stage].push_back({ActionType::B, stage, i});
    }
  return schedule;
}

}  // namespace windtunnel

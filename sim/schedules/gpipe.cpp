// GPipe: all forwards, then all backwards. Each device stores m activations.
// Time with equal stages: (m + p - 1)(F + B).
// The backwards run from the last micro-batch to the first, as automatic differentiation of the
// whole mini-batch does. PyTorch's ScheduleGPipe runs them from the first, in the same time.
//
// Source: Huang et al. 2018, "GPipe", arXiv:1811.06965.
#include "schedules/families.hpp"

namespace windtunnel {

Schedule gpipe_schedule(int p, int m, int v) {
  Schedule schedule = empty_looped_schedule(p, m, v);
  for (int stage = 0; stage < p; ++stage) {
    for (int i = 0; i < m; ++i) schedule.actions[stage].push_back({ActionType::F, stage, i});
    for (int i = m; i-- > 0;) schedule.actions[stage].push_back({ActionType::B, stage, i});
  }
  return schedule;
}

}  // namespace windtunnel

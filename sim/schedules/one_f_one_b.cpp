// 1F1B (PipeDream-flush): after a warm-up of p - 1 - stage forwards, one forward and one backward
// in turn. Stage s stores min(p - s, m) activations. Time with equal stages: (m + p - 1)(F + B).
//
// Source: Narayanan et al. 2020, "Memory-Efficient Pipeline-Parallel DNN Training",
// arXiv:2006.09503; order as in Megatron-LM, megatron/core/pipeline_parallel/schedules.py,
// forward_backward_pipelining_without_interleaving.
#include <algorithm>

#include "schedules/families.hpp"

namespace windtunnel {

Schedule one_f_one_b_schedule(int p, int m, int v) {
  Schedule schedule = empty_looped_schedule(p, m, v);
  for (int stage = 0; stage < p; ++stage) {
    auto& list = schedule.actions[stage];
    const int warm_up = std::min(p - 1 - stage, m);
    for (int i = 0; i < warm_up; ++i) list.push_back({ActionType::F, stage, i});
    for (int i = 0; i < m; ++i) {
      if (warm_up + i < m) list.push_back({ActionType::F, stage, warm_up + i});
      list.push_back({ActionType::B, stage, i});
    }
  }
  return schedule;
}

}  // namespace windtunnel

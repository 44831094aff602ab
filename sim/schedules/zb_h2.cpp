// ZB-H2: more warm-up forwards than ZB-H1, so that no device waits between its first and its last
// action when F = I = W. Each device stores 2p - 1 activations (m >= 2p - 1, freed at W).
// Time of the slowest device with equal stages and m >= 2p - 1:
// m (F + I + W) + (p - 1) max(0, I - F, F + I - 2W).
// The devices still start one after the other, so that a single step ends later than that.
//
// Source: Qi et al. 2023, "Zero Bubble Pipeline Parallelism", arXiv:2401.10241, section 2. The
// order is ours; it takes as long as what that paper's search finds with memory for 2p - 1
// activations (github.com/sail-sg/zero-bubble-pipeline-parallelism, zb.py).
#include <algorithm>

#include "schedules/families.hpp"

namespace windtunnel {

Schedule zb_h2_schedule(int p, int m, int v) {
  Schedule schedule = empty_looped_schedule(p, m, v);
  for (int stage = 0; stage < p; ++stage) {
    auto& list = schedule.actions[stage];
    int forwards = std::min(2 * (p - stage) - 1, m);
    int weights = 0;
    for (int i = 0; i < forwards; ++i) list.push_back({ActionType::F, stage, i});
    for (int i = 0; i < m; ++i) {
      list.push_back({ActionType::I, stage, i});
      // A weight gradient frees the activation whose place the next forward takes; stages with a
      // shorter warm-up first fill up to 2p - 1. After the last forward, I and W take turns.
      const bool forwards_left = forwards < m;
      if (!forwards_left || i >= 2 * stage) list.push_back({ActionType::W, stage, weights++});
      if (forwards_left) list.push_back({ActionType::F, stage, forwards++});
    }
    while (weights < m) list.push_back({ActionType::W, stage, weights++});
  }
  return schedule;
}

}  // namespace windtunnel

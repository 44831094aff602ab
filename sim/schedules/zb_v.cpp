// ZB-V: two chunks per device, placed in a V: chunk 0 of rank r is stage r, chunk 1 is stage
// 2p - 1 - r. The first rank computes the loss, and no device waits between its first and its last
// action when F = I = W and m >= 2p - 1. Each device then stores 2p activations of a chunk.
// With m < 2p - 1 it is the order for 2p - 1 micro-batches without the surplus ones, as in PyTorch;
// the paper's search would find a faster one.
//
// Source: Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", arXiv:2405.15362; order
// as in PyTorch, torch/distributed/pipelining/schedules.py, ScheduleZBVZeroBubble.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "schedules/families.hpp"

namespace windtunnel {
namespace {

// The list of one device, where the next action of a type and chunk takes the next micro-batch.
class RankOrder {
 public:
  RankOrder(int p, int m, int r) : m_(m), stage_of_chunk_{r, 2 * p - 1 - r} {}

  void push(ActionType type, int chunk) {
    const int i = next_[chunk][int(type)]++;
    if (i < m_) list_.push_back({type, stage_of_chunk_[chunk], i});
  }
  void push_input_and_weight(int chunk) {
    push(ActionType::I, chunk);
    push(ActionType::W, chunk);
  }
  int count(ActionType type, int chunk) const { return next_[chunk][int(type)]; }
  std::vector<Action> list() const { return list_; }

 private:
  int m_;
  std::array<int, 2> stage_of_chunk_;
  std::array<std::array<int, 4>, 2> next_{};  // by chunk and type
  std::vector<Action> list_;
};

std::vector<Action> rank_order(int p, int m, int r) {
  RankOrder order(p, m, r);
  const int length = std::max(2 * p - 1, m);
  // Warm-up, until the first backward arrives.
  for (int k = 0; k < 2 * (p - r) - 1; ++k) order.push(ActionType::F, 0);
  for (int k = 0; k < r; ++k) {
    order.push(ActionType::F, 1);
    order.push(ActionType::F, 0);
  }
  for (int k = 0; k < p - r; ++k) {
    order.push(ActionType::F, 1);
    order.push_input_and_weight(1);
  }
  // Steady state: F, I, W of either chunk in turn.
  while (order.count(ActionType::F, 1) < order.count(ActionType::F, 0) ||
         order.count(ActionType::F, 0) < length) {
    if (order.count(ActionType::F, 0) < length) order.push(ActionType::F, 0);
    order.push_input_and_weight(0);
    order.push(ActionType::F, 1);
    order.push_input_and_weight(1);
  }
  // Cool-down: weight gradients wait, to fill the bubble at the end.
  for (int k = 0; k < r; ++k) {
    order.push(ActionType::I, 0);
    order.push(ActionType::I, 1);
  }
  for (int k = 0; k < p - r; ++k) order.push_input_and_weight(0);
  for (const int chunk : {1, 0})
    while (order.count(ActionType::W, chunk) < order.count(ActionType::I, chunk))
      order.push(ActionType::W, chunk);
  return order.list();
}

}  // namespace

std::string zb_v_limits(int /*p*/, int /*m*/, int v) {
  return v == 2 ? "" : "it needs 2 chunks per device (virtual_stages), not " + std::to_string(v);
}

Schedule zb_v_schedule(int p, int m, int v) {
  Schedule schedule = empty_looped_schedule(p, m, v);
  for (int r = 0; r < p; ++r) {
    schedule.device_of_stage[2 * p - 1 - r] = r;
    schedule.actions[r] = rank_order(p, m, r);
  }
  return schedule;
}

}  // namespace windtunnel

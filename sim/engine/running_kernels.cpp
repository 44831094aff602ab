#include "engine/running_kernels.hpp"

#include <algorithm>

namespace windtunnel {

void RunningKernels::start(Seconds time, Seconds issued, double memory_part) {
  run_ = true;
  memory_part_ = memory_part;
  speed_ = speed();
  left_ = time;
  since_ = agenda_.now();
  issued_ = issued;
  set_timer();
}

bool RunningKernels::end(std::uint32_t timer) {
  if (!run_ || timer != timer_) return false;
  run_ = false;
  return true;
}

void RunningKernels::take_share(const ComputeShare& share) {
  if (share == ComputeShare{}) return;
  shares_.push_back(share);
  change_speed();
}

void RunningKernels::give_share_back(const ComputeShare& share) {
  if (share == ComputeShare{}) return;
  shares_.erase(std::ranges::find(shares_, share));
  change_speed();
}

double RunningKernels::speed() const {
  double most = 0;
  for (const ComputeShare& share : shares_) most = std::max(most, share.of(memory_part_));
  return 1 - most;
}

void RunningKernels::set_timer() {
  ++timer_;
  agenda_.after(std::max(left_ / speed_, issued_ - agenda_.now()),
                {Event::KernelsDone, rank_, timer_});
}

void RunningKernels::change_speed() {
  const double changed = speed();
  if (changed == speed_) return;
  if (run_) {
    const Seconds done = (agenda_.now() - since_) * speed_;
    left_ = std::max(Seconds(0), left_ - done);
    since_ = agenda_.now();
  }
  speed_ = changed;
  if (run_) set_timer();
}

}  // namespace windtunnel

#include "engine/running_kernels.hpp"

#include <algorithm>

namespace windtunnel {

void RunningKernels::start(Seconds time, Seconds issued) {
  run_ = true;
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

void RunningKernels::take_share(double share) {
  if (share == 0) return;
  shares_.insert(share);
  change_speed();
}

void RunningKernels::give_share_back(double share) {
  if (share == 0) return;
  shares_.extract(share);
  change_speed();
}

void RunningKernels::set_timer() {
  ++timer_;
  agenda_.after(std::max(left_ / speed_, issued_ - agenda_.now()),
                {Event::KernelsDone, rank_, timer_});
}

void RunningKernels::change_speed() {
  const double speed = shares_.empty() ? 1 : 1 - *shares_.rbegin();
  if (speed == speed_) return;
  if (run_) {
    const Seconds done = (agenda_.now() - since_) * speed_;
    left_ = std::max(Seconds(0), left_ - done);
    since_ = agenda_.now();
  }
  speed_ = speed;
  if (run_) set_timer();
}

}  // namespace windtunnel

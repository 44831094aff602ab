#include "backend/execute/pass_clock.hpp"

namespace windtunnel {

void PassClock::end(Stretch& stretch) {
  stretch.end = device_.mark();
  stretch.end_wait = waits_.size();
}

void PassClock::wait(const std::function<void()>& run) {
  const Mark begin = device_.mark();
  run();
  waits_.push_back({begin, device_.mark()});
}

Seconds PassClock::waited(const Stretch& stretch) const {
  Seconds sum;
  for (std::size_t i = stretch.first_wait; i < stretch.end_wait; ++i)
    sum += device_.between(waits_[i].begin, waits_[i].end);
  return sum;
}

Seconds PassClock::without_waits(const Stretch& stretch) const {
  return device_.between(stretch.begin, stretch.end) - waited(stretch);
}

}  // namespace windtunnel

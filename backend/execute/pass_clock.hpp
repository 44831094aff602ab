// How long passes of layers took, by the device's clock, and what of it they waited for
// collectives. Marks are set while work is issued and read when the step has ended: between the
// layers of a step no host waits for its GPU.
#pragma once

#include <functional>
#include <vector>

#include "backend/execute/device.hpp"

namespace windtunnel {

class PassClock {
 public:
  // Of one stream's order: what was waited for in it, by index.
  struct Stretch {
    Mark begin, end;
    std::size_t first_wait = 0, end_wait = 0;
  };

  explicit PassClock(Device& device) : device_(device) {}

  void begin_step() { waits_.clear(); }
  // On the compute stream's thread, or on that of autograd, for which it waits.
  Stretch begin() { return {device_.mark(), {}, waits_.size(), 0}; }
  void end(Stretch& stretch);
  void wait(const std::function<void()>& run);

  // When the step has ended.
  Seconds waited(const Stretch& stretch) const;
  Seconds without_waits(const Stretch& stretch) const;

 private:
  struct Wait {
    Mark begin, end;
  };
  Device& device_;
  std::vector<Wait> waits_;  // of this step, in order
};

}  // namespace windtunnel

// Repetitions of a kernel on a device, by that device's clock.
#pragma once

#include <functional>

#include "backend/execute/device.hpp"

namespace windtunnel {

// Of the thread that makes it, which enters the compute stream of the device.
class KernelClock {
 public:
  explicit KernelClock(Device& device);

  // With operands that a sweep over memory has pushed out of the caches, where a step finds them
  // cold too: hot ones make GEMMs look 20 % faster than they are in a step. While a GPU sweeps, its
  // host queues the kernels, so that none waits for being issued.
  Seconds cold(const std::function<void()>& run);
  // Of each of so many calls on end, hot. Up to 100 short ones are queued before a GPU begins.
  Seconds back_to_back(const std::function<void()>& run, int calls);
  // What the host takes to queue each of so many calls, its own clock. On a CPU: back_to_back.
  Seconds issue(const std::function<void()>& run, int calls);

 private:
  void sweep() { memory_.add_(1); }

  Device& device_;
  at::Tensor memory_;
};

}  // namespace windtunnel

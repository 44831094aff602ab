#include "backend/calibrate/kernel_clock.hpp"

namespace windtunnel {

namespace {

// The sweep's memory in that of the cache: smaller than what a step touches.
constexpr double kSweep = 8;
// Sweeps that keep a GPU busy for longer than its host takes to queue 100 kernels: 4 over 8 x 50 MB
// are 0.9 ms on an H100, and a kernel takes 4 to 8 us.
constexpr int kHeadStart = 4;

at::Tensor sweep_memory(const Device& device) {
  return at::zeros({std::int64_t(kSweep * device.facts().cache.value / 4)},
                   at::TensorOptions(at::kFloat).device(device.place()));
}

}  // namespace

KernelClock::KernelClock(Device& device) : device_(device) {
  device_.enter(Stream::Compute, 0);
  memory_ = sweep_memory(device_);
}

Seconds KernelClock::cold(const std::function<void()>& run) {
  sweep();
  const Mark begin = device_.mark();
  run();
  const Mark end = device_.mark();
  return device_.between(begin, end);
}

Seconds KernelClock::back_to_back(const std::function<void()>& run, int calls) {
  for (int i = 0; i < kHeadStart; ++i) sweep();
  const Mark begin = device_.mark();
  for (int i = 0; i < calls; ++i) run();
  const Mark end = device_.mark();
  return device_.between(begin, end) / calls;
}

Seconds KernelClock::issue(const std::function<void()>& run, int calls) {
  const Mark before = device_.mark();
  const double begin = monotonic_seconds();
  for (int i = 0; i < calls; ++i) run();
  const double end = monotonic_seconds();
  device_.between(before, device_.mark());  // nothing is left in the queue
  return Seconds((end - begin) / calls);
}

}  // namespace windtunnel

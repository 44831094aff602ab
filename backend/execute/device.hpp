// What "now" and "after" mean where a rank runs: on a CPU a call that returned is done; on a GPU it
// is queued on a stream.
#pragma once

#include <memory>

#include "backend/torch.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// A moment in the order of one stream's work.
struct Mark {
  double time = 0;              // CPU: seconds on the monotonic clock
  std::shared_ptr<void> event;  // GPU: recorded on the stream
};

class Device {
 public:
  virtual ~Device() = default;
  virtual at::Device place() const = 0;  // where tensors live
  virtual void begin_step() {}           // before the first mark of a step
  // The calling thread's work belongs to this stream from now on. `lane` tells the threads of the
  // Receive stream apart.
  virtual void enter(Stream stream, int lane) = 0;
  virtual Mark mark() = 0;
  virtual void wait(const Mark& mark) = 0;    // the calling thread's further work comes after it
  virtual double time(const Mark& mark) = 0;  // seconds, the same clock on every rank of a host
  // The calling thread's stream works on memory that another one's tensor owns: it must not be used
  // again before.
  virtual void uses(const at::Tensor&) {}
  virtual Bytes peak_memory() const = 0;  // resident set (CPU), allocated for tensors (GPU)
};

// Pins the compute stream's thread to a core of its own, `local_rank` modulo the cores; the others
// stay free, because Gloo's threads must run while the rank computes.
std::unique_ptr<Device> make_cpu_device(int local_rank, bool pins);

// The GPU of this index. Requires a build with WINDTUNNEL_CUDA; throws BackendError without the
// GPU.
std::unique_ptr<Device> make_cuda_device(int index);

double monotonic_seconds();     // CLOCK_MONOTONIC: one clock for all processes of a host
void sleep_until(double time);  // on that clock

}  // namespace windtunnel

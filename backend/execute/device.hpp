// What "now" and "after" mean where a rank runs: on a CPU a call that returned is done; on a GPU it
// is queued on a stream.
#pragma once

#include <memory>
#include <string>

#include "backend/torch.hpp"
#include "cluster/gpu.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// A moment in the order of one stream's work.
struct Mark {
  double time = 0;              // CPU: seconds on the monotonic clock
  std::shared_ptr<void> event;  // GPU: recorded on the stream
};

// What a measurement must say about the device that it was taken on.
struct DeviceFacts {
  std::string hardware;  // "NVIDIA H100 80GB HBM3, 132 processors, ..." and the host's
  std::string software;  // "LibTorch 2.11.0, CUDA 13.0, driver 13.0"
  Bytes memory;          // of the card; of the host, which its ranks share (CPU)
  Bytes cache;           // what a tensor must exceed to be read from memory: L2
};

struct PeakMemory {
  Bytes used;      // allocated for tensors (GPU), resident set of the process (CPU)
  Bytes reserved;  // GPU: what LibTorch's allocator took from the card for them; CPU: 0
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
  // Between two marks of one stream: finer than the difference of their times. Waits for `end`.
  virtual Seconds between(const Mark& begin, const Mark& end) = 0;
  // The calling thread's stream works on memory that another one's tensor owns: it must not be used
  // again before.
  virtual void uses(const at::Tensor&) {}
  virtual PeakMemory peak_memory() const = 0;
  virtual void forget_peak() {}  // GPU: the peak counts from now on; a process's never falls
  virtual DeviceFacts facts() const = 0;
};

// Pins the compute stream's thread to a core of its own, `local_rank` modulo the cores; the others
// stay free, because Gloo's threads must run while the rank computes.
std::unique_ptr<Device> make_cpu_device(int local_rank, bool pins);

// The GPU of this index. Requires a build with WINDTUNNEL_CUDA; throws BackendError without the
// GPU.
std::unique_ptr<Device> make_cuda_device(int index);

// Where a rank of such GPUs computes: on a core of its own where they are cores, else on the card
// of its local rank. Throws BackendError where this build, or this host, has none.
std::unique_ptr<Device> make_device(const GpuSpec& gpu, int local_rank);

double monotonic_seconds();     // CLOCK_MONOTONIC: one clock for all processes of a host
void sleep_until(double time);  // on that clock

}  // namespace windtunnel

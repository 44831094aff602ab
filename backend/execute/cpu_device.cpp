#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "backend/execute/device.hpp"
#include "backend/execute/machine_description.hpp"

namespace windtunnel {

double monotonic_seconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

void sleep_until(double time) {
  const double whole = std::floor(time);
  const timespec deadline{.tv_sec = time_t(whole), .tv_nsec = long((time - whole) * 1e9)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) != 0) {
  }
}

namespace {

// The second-level cache of a core of today's servers.
constexpr double kCoreCache = 2 << 20;

class CpuDevice : public Device {
 public:
  CpuDevice(int local_rank, bool pins) : local_rank_(local_rank), pins_(pins) {}

  at::Device place() const override { return at::kCPU; }
  void enter(Stream stream, int) override {
    prctl(PR_SET_TIMERSLACK, 1UL);  // nanoseconds: emulated compute sleeps to a deadline
    if (stream == Stream::Compute && pins_) {
      cpu_set_t cores;
      CPU_ZERO(&cores);
      CPU_SET(unsigned(local_rank_) % std::max(1U, std::thread::hardware_concurrency()), &cores);
      sched_setaffinity(0, sizeof cores, &cores);
    }
  }
  Mark mark() override { return {monotonic_seconds(), nullptr}; }
  void wait(const Mark&) override {}
  double time(const Mark& mark) override { return mark.time; }
  Seconds between(const Mark& begin, const Mark& end) override {
    return Seconds(end.time - begin.time);
  }
  PeakMemory peak_memory() const override {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return {Bytes(double(usage.ru_maxrss) * 1024), Bytes(0)};
  }
  DeviceFacts facts() const override {
    return {.hardware = machine_description(),
            .software = "LibTorch " TORCH_VERSION,
            .memory = Bytes(double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGESIZE))),
            .cache = Bytes(kCoreCache)};
  }

 private:
  int local_rank_;
  bool pins_;
};

}  // namespace

std::unique_ptr<Device> make_cpu_device(int local_rank, bool pins) {
  return std::make_unique<CpuDevice>(local_rank, pins);
}

}  // namespace windtunnel

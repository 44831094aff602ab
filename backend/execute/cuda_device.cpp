// A GPU: every stream of a program is a CUDA stream, marks are events.
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>

#include <map>
#include <mutex>
#include <utility>

#include "backend/backend_error.hpp"
#include "backend/execute/device.hpp"
#include "backend/execute/machine_description.hpp"

namespace windtunnel {

namespace {

using Event = at::cuda::CUDAEvent;
namespace allocator = c10::cuda::CUDACachingAllocator;

std::shared_ptr<Event> event_of(const Mark& mark) {
  return std::static_pointer_cast<Event>(mark.event);
}

// CUDA counts 13000 for 13.0.
std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

class CudaDevice : public Device {
 public:
  explicit CudaDevice(int index) : index_(static_cast<c10::DeviceIndex>(index)) {
    const int count = c10::cuda::device_count();
    if (index >= count)
      throw BackendError(fmt::format("local rank {} has no GPU: this host shows {}", index, count));
    c10::cuda::set_device(index_);
  }

  at::Device place() const override { return {at::kCUDA, index_}; }

  // Events count from one of this step whose time on the host's clock is known.
  void begin_step() override {
    c10::cuda::set_device(index_);
    c10::cuda::device_synchronize();
    origin_ = std::make_shared<Event>(cudaEventDefault);
    origin_->record(c10::cuda::getCurrentCUDAStream(index_));
    origin_->synchronize();
    origin_time_ = monotonic_seconds();
  }

  void enter(Stream stream, int lane) override {
    c10::cuda::set_device(index_);
    const std::lock_guard lock(mutex_);
    const auto [found, is_new] = streams_.try_emplace(
        {stream, lane}, c10::cuda::getStreamFromPool(stream != Stream::Compute, index_));
    c10::cuda::setCurrentCUDAStream(found->second);
  }

  Mark mark() override {
    auto event = std::make_shared<Event>(cudaEventDefault);
    event->record(c10::cuda::getCurrentCUDAStream(index_));
    return {0, event};
  }

  void wait(const Mark& mark) override {
    event_of(mark)->block(c10::cuda::getCurrentCUDAStream(index_));
  }

  double time(const Mark& mark) override {
    const auto event = event_of(mark);
    event->synchronize();
    return origin_time_ + 1e-3 * double(origin_->elapsed_time(*event));
  }

  // The driver counts in fp32 milliseconds: from the step's origin 60 ns are lost after a second.
  Seconds between(const Mark& begin, const Mark& end) override {
    const auto last = event_of(end);
    last->synchronize();
    return Seconds(1e-3 * double(event_of(begin)->elapsed_time(*last)));
  }

  void uses(const at::Tensor& tensor) override {
    allocator::recordStream(tensor.storage().data_ptr(), c10::cuda::getCurrentCUDAStream(index_));
  }

  PeakMemory peak_memory() const override {
    const auto stats = allocator::getDeviceStats(index_);
    const auto all_pools = std::size_t(c10::CachingAllocator::StatType::AGGREGATE);
    return {Bytes(double(stats.allocated_bytes[all_pools].peak)),
            Bytes(double(stats.reserved_bytes[all_pools].peak))};
  }

  void forget_peak() override { allocator::resetPeakStats(index_); }

  DeviceFacts facts() const override {
    const cudaDeviceProp& card = *at::cuda::getDeviceProperties(index_);
    int driver = 0, runtime = 0;
    C10_CUDA_CHECK(cudaDriverGetVersion(&driver));
    C10_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
    return {.hardware = fmt::format("{}, {} processors, {:.0f} GiB, in {}", card.name,
                                    card.multiProcessorCount,
                                    double(card.totalGlobalMem) / (1 << 30), machine_description()),
            .software = fmt::format("LibTorch " TORCH_VERSION ", CUDA {}, driver {}",
                                    version_text(runtime), version_text(driver)),
            .memory = Bytes(double(card.totalGlobalMem)),
            .cache = Bytes(double(card.l2CacheSize))};
  }

 private:
  c10::DeviceIndex index_;
  std::mutex mutex_;
  std::map<std::pair<Stream, int>, c10::cuda::CUDAStream> streams_;
  std::shared_ptr<Event> origin_;
  double origin_time_ = 0;
};

}  // namespace

std::unique_ptr<Device> make_cuda_device(int index) {
  return std::make_unique<CudaDevice>(index);
}

}  // namespace windtunnel

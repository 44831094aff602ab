// A GPU: every stream of a program is a CUDA stream, marks are events.
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

namespace windtunnel {

namespace {

using Event = at::cuda::CUDAEvent;

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
    std::static_pointer_cast<Event>(mark.event)->block(c10::cuda::getCurrentCUDAStream(index_));
  }

  double time(const Mark& mark) override {
    const auto event = std::static_pointer_cast<Event>(mark.event);
    event->synchronize();
    return origin_time_ + 1e-3 * double(origin_->elapsed_time(*event));
  }

  void uses(const at::Tensor& tensor) override {
    c10::cuda::CUDACachingAllocator::recordStream(tensor.storage().data_ptr(),
                                                  c10::cuda::getCurrentCUDAStream(index_));
  }

  Bytes peak_memory() const override {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index_);
    return Bytes(double(stats.allocated_bytes[0].peak));  // of all pools together
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

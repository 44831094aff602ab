#include <fmt/format.h>

#include "backend/backend_error.hpp"
#include "backend/execute/device.hpp"

namespace windtunnel {

std::unique_ptr<Device> make_device(const GpuSpec& gpu, int local_rank) {
  if (gpu.arch == "cpu") return make_cpu_device(local_rank, true);
#ifdef WINDTUNNEL_CUDA
  return make_cuda_device(local_rank);
#else
  throw BackendError(
      fmt::format("the job's ranks are GPUs ({}), and this build has no CUDA: build "
                  "with -DWINDTUNNEL_CUDA=ON, or name a cluster of CPUs",
                  gpu.name));
#endif
}

}  // namespace windtunnel

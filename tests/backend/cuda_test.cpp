// GPUs and groups of them over NCCL. Only a build for GPUs has these tests.
#include "backend/catch.hpp"

#include <c10/cuda/CUDAFunctions.h>

#include <string>

#include "backend/backend_error.hpp"
#include "backend/execute/device.hpp"
#include "ranks.hpp"

namespace windtunnel {

TEST_CASE("a rank without a GPU of its own says how many this host shows") {
  const int gpus = c10::cuda::device_count();
  const std::string count = std::to_string(gpus);
  CHECK_THROWS_WITH(make_cuda_device(gpus),
                    "local rank " + count + " has no GPU: this host shows " + count);
}

TEST_CASE("collectives of GPUs give every rank what the arithmetic says", "[nccl]") {
  const int gpus = c10::cuda::device_count();
  if (gpus == 0) {
    WARN("skipped: NCCL needs a GPU, and this host shows none");
    return;
  }
  CHECK(end_of_ranks(gpus, {"collectives_cuda"}).how == "");
}

}  // namespace windtunnel

// GPUs and groups of them over NCCL. Only a build for GPUs has these tests.
#include "backend/catch.hpp"

#include <c10/cuda/CUDAFunctions.h>

#include <string>

#include "backend/backend_error.hpp"
#include "backend/calibrate/kernel_times.hpp"
#include "backend/execute/device.hpp"
#include "ranks.hpp"

namespace windtunnel {

TEST_CASE("a rank without a GPU of its own says how many this host shows") {
  const int gpus = c10::cuda::device_count();
  const std::string count = std::to_string(gpus);
  CHECK_THROWS_WITH(make_cuda_device(gpus),
                    "local rank " + count + " has no GPU: this host shows " + count);
}

TEST_CASE("a card's kernels are measured by its events, and its memory by its allocator") {
  if (c10::cuda::device_count() == 0) {
    WARN("skipped: this host shows no GPU");
    return;
  }
  const auto device = make_cuda_device(0);
  const DeviceFacts facts = device->facts();
  CHECK(facts.memory > Bytes(1e9));
  CHECK(facts.cache > Bytes(1e5));

  device->enter(Stream::Compute, 0);
  device->forget_peak();
  const PeakMemory before = device->peak_memory();
  constexpr std::int64_t kBytes = 64 << 20;
  const at::Tensor data = at::empty({kBytes}, at::TensorOptions(at::kByte).device(device->place()));
  const PeakMemory after = device->peak_memory();
  CHECK(after.used == before.used + Bytes(double(kBytes)));
  CHECK(after.reserved >= after.used);

  KernelGrid grid;
  grid.type = DType::Bf16;
  grid.more_of_gemms = {DType::Fp32};
  grid.gemms = {{256, 256, 256}, {2048, 2048, 2048}};
  grid.is_attention_fused = true;
  grid.attentions = {{4, 16, 512, 64, true}};
  grid.convolutions = {{16, 64}};
  grid.tensor_bytes = {1 << 16, 1 << 24};
  grid.has_norms = true;
  grid.table_rows = 4096;
  grid.row = 1024;
  grid.sustained = {2048, 2048, 2048};
  grid.copied_bytes = 1 << 26;
  Progress progress(false);
  const KernelTimes times = measure_kernels(*device, grid, {.arch = "hopper"}, progress);
  // Faster than the host could say that they have ended, slower than nothing.
  CHECK(times.gpu.launch_overhead > Seconds(1e-7));
  CHECK(times.gpu.launch_overhead < Seconds(2e-5));
  REQUIRE(times.gpu.measured_gemms.size() == 4);
  for (const MeasuredGemm& gemm : times.gpu.measured_gemms) CHECK(gemm.efficiency > 1e-3);
  // No card copies less than 50 GB/s, or multiplies 2048^3 in bf16 below 5 TFLOP/s.
  CHECK(times.gpu.memory_bandwidth > Rate(5e10));
  CHECK(times.gpu.peak[std::size_t(DType::Bf16)]->value > 5e12);
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

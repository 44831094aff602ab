// GPUs and groups of them over NCCL. Only a build for GPUs has these tests.
#include "backend/catch.hpp"

#include <c10/cuda/CUDAFunctions.h>

#include <string>

#include "backend/backend_error.hpp"
#include "backend/calibrate/kernel_times.hpp"
#include "backend/execute/device.hpp"
#include "backend/program.hpp"
#include "config/load.hpp"
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

TEST_CASE("calibrate measures collectives of cards, and kernels beside them", "[nccl]") {
  const int gpus = c10::cuda::device_count();
  if (gpus < 2) {
    WARN("skipped: collectives need two GPUs, and this host shows " << gpus);
    return;
  }
  const TemporaryFolder folder("nccl_profile");
  const std::string job = folder.path / "job.yaml", profile = folder.path / "cards.yaml";
  write_text(job,
             "model: {name: tiny, source: test, family: mlp, inputs: 64, hidden: 256, layers: 2, "
             "outputs: 64}\ncluster: " WINDTUNNEL_SOURCE_DIR
             "/topologies/clusters/single-8xh100.yaml\ngpus: 2\nparallel: {data: 2}\n"
             "batch: {global: 64, micro: 32}\nprecision: bf16\n");
  const End end = end_of(
      WINDTUNNEL_BACKEND_PROGRAM " calibrate " + job + " --ranks 2 --allow-noise --out " + profile,
      folder);
  INFO(end.errors);
  REQUIRE(end.code == 0);
  const Profile measured = load_profile(profile);
  CHECK(measured.gpu);
  REQUIRE(measured.collectives.size() == 7);
  for (const CollectiveTime& collective : measured.collectives) {
    CHECK(collective.ranks == 2);
    CHECK(collective.nodes == 1);
    CHECK(collective.curve.points.back().size == 1 << 30);
    // No collective of 1 GiB is done at 10 TB/s, none of 1 KiB takes a millisecond.
    CHECK(collective.curve.points.back().figure.time > Seconds(1e-4));
    CHECK(collective.curve.points.front().figure.time < Seconds(1e-3));
  }
  REQUIRE(measured.messages.size() == 1);
  REQUIRE(measured.slowdowns.size() == 1);
  CHECK_FALSE(measured.cpu_seconds_per_byte);
}

}  // namespace windtunnel

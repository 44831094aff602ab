// kernel_time, efficiency curves and the division of a CPU node into ranks.
#include "catch.hpp"
#include "cluster/cpu_node.hpp"
#include "cluster_examples.hpp"

using namespace windtunnel;

TEST_CASE("a big GEMM takes its FLOPs over the peak") {
  // 2 x 4096^3 = 137,438,953,472 FLOP at 312 TFLOP/s.
  const Seconds time =
      kernel_time(perfect_gpu(), matmul(4096, 4096, 4096, DType::Bf16), DType::Bf16);
  CHECK(time.value == Approx(440.5095e-6).epsilon(1e-6));
}

TEST_CASE("a GEMM that adds to a sum hides a quarter of what that moves") {
  // 6 bytes for each of 4096^2 numbers, fp32 read and written in place of bf16 written, at 2039
  // GB/s.
  Work work = matmul(4096, 4096, 4096, DType::Bf16);
  work.sums = Bytes(6.0 * 4096 * 4096);
  CHECK(kernel_time(perfect_gpu(), work, DType::Bf16).value ==
        Approx(440.5095e-6 + 0.75 * 100'663'296 / 2039e9).epsilon(1e-6));
}

TEST_CASE("a GEMV takes its bytes over the memory bandwidth") {
  // (4096^2 + 2 x 4096) x 2 B = 33,570,816 B at 2039 GB/s.
  const Seconds time = kernel_time(perfect_gpu(), matmul(4096, 1, 4096, DType::Bf16), DType::Bf16);
  CHECK(time.value == Approx(33'570'816 / 2039e9));
  CHECK(time.value == Approx(16.464e-6).epsilon(1e-4));
}

TEST_CASE("each kernel of a work pays its launch, and curves see the size of one kernel") {
  GpuSpec gpu = perfect_gpu();
  gpu.launch_overhead = Seconds(3e-6);
  gpu.efficiency[std::size_t(OpClass::Elementwise)].points = {{1e6, 0.25}, {1e8, 0.75}};
  Work work = elementwise(Bytes(1e8));
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(3e-6 + 1e8 / (2039e9 * 0.75)));
  work.kernels = 100;  // of 1 MB each
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(300e-6 + 1e8 / (2039e9 * 0.25)));
}

TEST_CASE("a GEMM takes whole waves of tiles") {
  GpuSpec gpu = perfect_gpu();
  gpu.gemm = {.processors = 100, .fill = 24, .latency = Seconds(2e-6), .tiles = {{128, 128, 0.5}}};
  // 16 x 8 = 128 tiles on 100 processors: 2 waves of 2 x 128 x 128 x (1000 + 24) FLOP at half
  // of 3.12 TFLOP/s: 2 x 21.509 us.
  const auto time = [&](std::int64_t m, std::int64_t n, std::int64_t k) {
    return kernel_time(gpu, matmul(m, n, k, DType::Bf16), DType::Bf16).value;
  };
  const double wave = 2.0 * 128 * 128 * 1024 / (3.12e12 * 0.5);
  CHECK(time(2048, 1024, 1000) == Approx(2e-6 + 2 * wave));
  CHECK(time(2047, 1000, 1000) == Approx(2e-6 + 2 * wave));  // parts of tiles are tiles
  CHECK(time(1280, 1280, 1000) == Approx(2e-6 + wave));      // 100 tiles
}

TEST_CASE("GEMMs of several kernels follow one another, each with waves of its own") {
  GpuSpec gpu = perfect_gpu();
  gpu.launch_overhead = Seconds(1e-6);
  gpu.gemm = {.processors = 100, .fill = 24, .latency = Seconds(2e-6), .tiles = {{128, 128, 0.5}}};
  // 5 x 4 x 5 = 100 tiles are one wave together, and five apart; k is too short to be split.
  Work work = matmul(640, 512, 500, DType::Bf16, 5);
  const double wave = 2.0 * 128 * 128 * 524 / (3.12e12 * 0.5);
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(1e-6 + 2e-6 + wave));
  work.kernels = 5;
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(5 * (1e-6 + 2e-6 + wave)));
}

TEST_CASE("a kernel of its own reaches a part of what a GEMM of its shape does") {
  GpuSpec gpu = perfect_gpu();
  gpu.gemm = {.processors = 100, .fill = 24, .latency = Seconds(2e-6), .tiles = {{128, 128, 0.5}}};
  // A GEMM of one wave, measured at twice its time, which says nothing of such a kernel.
  Work work = matmul(1280, 1280, 1000, DType::Bf16);
  const double whole = 2e-6 + 2.0 * 128 * 128 * 1024 / (3.12e12 * 0.5);
  work.efficiency = 0.25;
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(4 * whole));
  gpu.measured_gemms = {{.type = DType::Bf16,
                         .m = 1280,
                         .n = 1280,
                         .k = 1000,
                         .efficiency = work.flops.value / (2 * whole * 312e12)}};
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(4 * whole));
}

TEST_CASE("the fill of a wave is a time: fewer steps of k in a slower format") {
  GpuSpec gpu = perfect_gpu();
  gpu.peak[std::size_t(DType::Fp32)] = FlopRate(31.2e12);  // a tenth
  gpu.gemm = {.processors = 100, .fill = 100, .latency = Seconds(0), .tiles = {{128, 128, 1}}};
  CHECK(kernel_time(gpu, matmul(128, 128, 200, DType::Bf16), DType::Bf16).value ==
        Approx(2.0 * 128 * 128 * (200 + 100) / 3.12e12));
  CHECK(kernel_time(gpu, matmul(128, 128, 200, DType::Fp32), DType::Fp32).value ==
        Approx(2.0 * 128 * 128 * (200 + 10) / 0.312e12));
}

TEST_CASE("k is split where tiles are fewer than processors") {
  GpuSpec gpu = perfect_gpu();
  gpu.gemm = {.processors = 100, .fill = 0, .latency = Seconds(0), .tiles = {{128, 128, 1}}};
  // One tile, k = 8192: 32 parts of 256, and 32 fp32 sums of 128 x 128 written and read.
  const double parts = 2.0 * 128 * 128 * 256 / 3.12e12, sums = 2 * 4.0 * 128 * 128 * 32 / 2039e9;
  CHECK(kernel_time(gpu, matmul(128, 128, 8192, DType::Bf16), DType::Bf16).value ==
        Approx(parts + sums));
}

TEST_CASE("large GEMMs sustain what the power limit leaves, small ones do not reach it") {
  GpuSpec gpu = perfect_gpu();
  gpu.gemm = {.processors = 100,
              .fill = 0,
              .latency = Seconds(20e-6),
              .sustained = 0.8,
              .tiles = {{128, 128, 1}}};
  const auto time = [&](std::int64_t m, std::int64_t n, std::int64_t k) {
    return kernel_time(gpu, matmul(m, n, k, DType::Bf16), DType::Bf16).value;
  };
  const double large = 2.0 * 12800 * 12800 * 4096;
  CHECK(time(12800, 12800, 4096) == Approx(large / (0.8 * 312e12)));
  CHECK(time(128, 128, 256) == Approx(20e-6 + 2.0 * 128 * 128 * 256 / 3.12e12));
  gpu.tdp = Watts(400);
  gpu.power_limit = Watts(200);  // half of the power: 0.5^0.9 = 0.535887
  CHECK(clock_under_limit(gpu) == Approx(0.535887));
  CHECK(time(12800, 12800, 4096) == Approx(large / (0.8 * 0.535887 * 312e12)));
  gpu.power_limit = Watts(500);  // no limit
  CHECK(clock_under_limit(gpu) == 1);
}

// Seconds of a bf16 GEMM in those that the peak needs.
double slowdown(const GpuSpec& gpu, std::int64_t m, std::int64_t n, std::int64_t k) {
  const Work work = matmul(m, n, k, DType::Bf16);
  return kernel_time(gpu, work, DType::Bf16).value / (work.flops.value / 312e12);
}

TEST_CASE("a measured GEMM takes what it took, whatever the model says") {
  GpuSpec gpu = perfect_gpu();
  gpu.measured_gemms = {{DType::Bf16, 4096, 4096, 4096, 0.5}, {DType::Bf16, 4096, 4096, 512, 0.4}};
  CHECK(slowdown(gpu, 4096, 4096, 4096) == Approx(2));
  CHECK(slowdown(gpu, 4096, 4096, 512) == Approx(2.5));
  gpu.gemm = {.processors = 100, .fill = 64, .latency = Seconds(2e-6), .tiles = {{128, 128, 0.9}}};
  CHECK(slowdown(gpu, 4096, 4096, 4096) == Approx(2));
  CHECK(slowdown(gpu, 4096, 4096, 512) == Approx(2.5));
  gpu.gemm.sustained = 0.25;  // power limits it all the same
  CHECK(slowdown(gpu, 4096, 4096, 4096) == Approx(4));
}

TEST_CASE("a GEMM between measured ones is as far off the model as they are") {
  GpuSpec gpu = perfect_gpu();
  gpu.measured_gemms = {{DType::Bf16, 1024, 4096, 4096, 0.5},
                        {DType::Bf16, 4096, 4096, 4096, 0.125}};
  // Half way in the logarithm: the mean of log 2 and log 8.
  CHECK(slowdown(gpu, 2048, 4096, 4096) == Approx(4));
  // Three times as far from the first as from the second: weights 1/9 and 1, 8 (2/8)^(1/10).
  CHECK(slowdown(gpu, 8192, 4096, 4096) == Approx(8 * std::pow(0.25, 0.1)));
  // n and k count like m: log 2 away from the first, sqrt(5) log 2 from the second, weights 5 : 1.
  CHECK(slowdown(gpu, 1024, 2048, 4096) == Approx(2 * std::pow(4, 1.0 / 6)));
  // The rows of a batch are counted together, if they are one kernel.
  Work work = matmul(512, 4096, 4096, DType::Bf16, 8);
  const double bare = work.flops.value / 312e12;
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(8 * bare));
  work.kernels = 4;
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(2 * bare));

  // With tiles it is their time that is corrected: 16 x 32 tiles are 6 waves of 100, 32 x 32 are
  // 11, and 24 x 32 are 8. Modelled factors of the bare time: 6 x 100 / 512, and so on.
  gpu.gemm = {.processors = 100, .fill = 0, .latency = Seconds(0), .tiles = {{128, 128, 1}}};
  gpu.measured_gemms = {{DType::Bf16, 2048, 4096, 4096, 0.5}, {DType::Bf16, 4096, 4096, 4096, 0.5}};
  const double near = std::log(1.5), far = std::log(4 / 3.0);
  const double first = 2 / (600 / 512.0), second = 2 / (1100 / 1024.0);
  const double a = 1 / (near * near), b = 1 / (far * far);
  CHECK(slowdown(gpu, 3072, 4096, 4096) ==
        Approx(800 / 768.0 * std::exp((a * std::log(first) + b * std::log(second)) / (a + b))));
}

TEST_CASE("only GEMMs of the same type and alignment are kin, if there are any") {
  GpuSpec gpu = perfect_gpu();
  gpu.peak[std::size_t(DType::Fp16)] = FlopRate(312e12);
  gpu.measured_gemms = {{DType::Bf16, 4096, 4096, 4096, 0.5},
                        {DType::Bf16, 4097, 4096, 4096, 0.1},
                        {DType::Fp16, 4098, 4096, 4096, 0.2}};
  CHECK(slowdown(gpu, 4104, 4096, 4096) == Approx(2));   // 16 bytes
  CHECK(slowdown(gpu, 4099, 4096, 4096) == Approx(10));  // 2 bytes
  const Work odd = matmul(4099, 4096, 4096, DType::Fp16);
  const Seconds bare = odd.flops / FlopRate(312e12);
  CHECK(kernel_time(gpu, odd, DType::Fp16).value == Approx(5 * bare.value));  // there is no other
  gpu.measured_gemms.pop_back();
  CHECK(kernel_time(gpu, odd, DType::Fp16) == bare);
  // Eight neighbours at most: the ninth, far off, says nothing.
  gpu.measured_gemms = {{DType::Bf16, 64, 64, 64, 0.01}};
  for (std::int64_t n = 1024; n < 1024 + 8 * 8; n += 8)
    gpu.measured_gemms.push_back({DType::Bf16, 4096, n, 4096, 0.5});
  CHECK(slowdown(gpu, 4096, 2048, 4096) == Approx(2));
}

TEST_CASE("measured GEMMs are no matter of convolutions") {
  GpuSpec gpu = perfect_gpu();
  gpu.measured_gemms = {{DType::Bf16, 4096, 4096, 4096, 0.5}};
  Work work = matmul(4096, 4096, 4096, DType::Bf16);
  work.op = OpClass::Convolution;
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(work.flops.value / 312e12));
}

TEST_CASE("cuDNN's attention has a speed of its own") {
  GpuSpec gpu = perfect_gpu();
  gpu.cudnn_attention = 1.5;
  Work work = {.op = OpClass::Attention, .flops = Flops(312e12)};
  const double flash = kernel_time(gpu, work, DType::Bf16).value;
  work.is_cudnn = true;
  CHECK(kernel_time(gpu, work, DType::Bf16).value == Approx(flash / 1.5));
}

// Part of the peak that a GEMM reaches.
double rate_of(const GpuSpec& gpu, const Work& work, DType type) {
  return work.flops.value / kernel_time(gpu, work, type).value / gpu.peak[std::size_t(type)]->value;
}

TEST_CASE("rows that start between the lines of memory slow the tiles of a GEMM down") {
  GpuSpec gpu = perfect_gpu();
  gpu.peak[std::size_t(DType::Fp32)] = FlopRate(312e12);
  gpu.gemm = {.processors = 1,
              .fill = 0,
              .latency = Seconds(0),
              .alignments = {{128, 1}, {16, 0.5}, {4, 0.25}},
              .tiles = {{128, 128, 1}}};
  const auto rate = [&](std::int64_t m, std::int64_t n, std::int64_t k, DType type) {
    return rate_of(gpu, matmul(m, n, k, type), type);
  };
  CHECK(rate(1280, 1280, 1280, DType::Bf16) == Approx(1));     // 256 x 2 B
  CHECK(rate(1280, 1280, 1288, DType::Bf16) == Approx(0.5));   // 8 x 2 B
  CHECK(rate(1280, 1280, 1284, DType::Bf16) == Approx(0.25));  // 4 x 2 B
  CHECK(rate(1280, 1280, 1281, DType::Bf16) == Approx(0.25));  // below the last
  CHECK(rate(1280, 1280, 1312, DType::Fp32) == Approx(1));     // 32 x 4 B
}

TEST_CASE("fp32 GEMMs run on other cores than the tiles were measured on") {
  GpuSpec gpu = perfect_gpu();
  gpu.peak[std::size_t(DType::Fp32)] = FlopRate(19.5e12);
  gpu.gemm = {.processors = 4,
              .fill = 0,
              .latency = Seconds(0),
              .fp32 = 0.9,
              .alignments = {{16, 1}, {4, 0.25}},
              .tiles = {{256, 128, 0.8}, {128, 128, 0.6}}};
  const auto rate = [&](std::int64_t m, std::int64_t n, std::int64_t k, DType type) {
    return rate_of(gpu, matmul(m, n, k, type), type);
  };
  CHECK(rate(512, 256, 1024, DType::Fp32) == Approx(0.9));  // four tiles of 256 x 128
  CHECK(rate(512, 256, 1025, DType::Fp32) == Approx(0.9));  // any alignment
  CHECK(rate(256, 256, 128, DType::Fp32) ==
        Approx(0.9 * 0.6 / 0.8));  // of 128 x 128, two of the others
                                   // would leave processors idle
  CHECK(rate(512, 256, 1024, DType::Bf16) == Approx(0.8));
  gpu.gemm.fp32.reset();
  CHECK(rate(512, 256, 1024, DType::Fp32) == Approx(0.8));
}

TEST_CASE("fp8 and fp4 GEMMs have their own sustained rates, and a work may keep its own format") {
  GpuSpec gpu = perfect_gpu();
  gpu.peak[std::size_t(DType::Fp8)] = FlopRate(624e12);
  gpu.peak[std::size_t(DType::Fp4)] = FlopRate(1248e12);
  gpu.gemm = {.processors = 100,
              .fill = 0,
              .latency = Seconds(0),
              .sustained = 0.8,
              .sustained_fp8 = 0.5,
              .sustained_fp4 = 0.4,
              .tiles = {{128, 128, 1}}};
  Work work = matmul(12800, 12800, 4096, DType::Fp8);
  CHECK(kernel_time(gpu, work, DType::Fp8).value == Approx(work.flops.value / (0.5 * 624e12)));
  CHECK(kernel_time(gpu, work, DType::Fp4).value == Approx(work.flops.value / (0.4 * 1248e12)));
  work.format = DType::Bf16;
  CHECK(kernel_time(gpu, work, DType::Fp8).value == Approx(work.flops.value / (0.8 * 312e12)));
  work.format.reset();
  gpu.gemm.sustained_fp4.reset();  // a profile that does not say: as the other formats
  CHECK(kernel_time(gpu, work, DType::Fp4).value == Approx(work.flops.value / (0.8 * 1248e12)));
}

TEST_CASE("a fixed work takes its duration on any GPU") {
  const Work work{.op = OpClass::Fixed, .duration = Seconds(1.5)};
  CHECK(kernel_time(GpuSpec{}, work, DType::Fp8).value == 1.5);
}

TEST_CASE(
    "optimizer and embedding read memory by their own curves, a matmul by the elementwise one") {
  GpuSpec gpu = perfect_gpu();
  gpu.efficiency[std::size_t(OpClass::Elementwise)].points = {{1, 0.5}};
  gpu.efficiency[std::size_t(OpClass::Optimizer)].points = {{1, 0.25}};
  const double bare = 1e9 / 2039e9;
  const auto time = [&](OpClass op) {
    return kernel_time(gpu, Work{.op = op, .bytes = Bytes(1e9)}, DType::Bf16).value;
  };
  CHECK(time(OpClass::Matmul) == Approx(2 * bare));
  CHECK(time(OpClass::Optimizer) == Approx(4 * bare));
  CHECK(time(OpClass::Embedding) == Approx(bare));
}

TEST_CASE("curves are linear in the logarithm of the size and constant beyond their ends") {
  const EfficiencyCurve curve{.points = {{1e9, 0.3}, {1e11, 0.7}, {1e12, 0.8}}, .source = ""};
  CHECK(curve.at(0) == 0.3);
  CHECK(curve.at(1e9) == Approx(0.3));
  CHECK(curve.at(1e10) == Approx(0.5));  // half way from 1e9 to 1e11 in the logarithm
  CHECK(curve.at(1e11) == Approx(0.7));
  CHECK(curve.at(1e12) == 0.8);
  CHECK(curve.at(1e18) == 0.8);
}

TEST_CASE("a CPU node becomes one GPU for each task") {
  NodeType node = example_node("shared_memory");
  node.gpu.name = "core";
  node.gpu.memory_bandwidth = Rate(10e9);
  node.gpu.peak = {};
  node.gpu.peak[std::size_t(DType::Fp32)] = FlopRate(100e9);
  node.gpu.tdp = Watts(5);
  node.gpu.efficiency[0].points = {{1e6, 0.2}, {1e8, 0.6}};
  const CpuSlots slots{.cores = 48,
                       .memory = Bytes(192e9),
                       .memory_bandwidth = Rate(256e9),
                       .tasks_per_node = 4,
                       .cpus_per_task = 12};
  const NodeType result = cpu_node(node, slots);
  CHECK(result.gpus == 4);
  CHECK(result.gpu.name == "12 x core");
  CHECK(result.gpu.peak[std::size_t(DType::Fp32)]->value == 1200e9);
  CHECK_FALSE(result.gpu.peak[std::size_t(DType::Bf16)].has_value());
  CHECK(result.gpu.memory.value == 48e9);
  CHECK(result.gpu.memory_bandwidth.value == 64e9);  // 12 x 10 GB/s is more than 256 / 4
  CHECK(result.gpu.tdp->value == 60);
  CHECK(result.gpu.efficiency[0].points[1].size == 1.2e9);
  CHECK(result.gpu.efficiency[0].at(1.2e7) == Approx(0.2));

  CpuSlots few = slots;
  few.tasks_per_node = 2;
  few.cpus_per_task = 4;
  CHECK(cpu_node(node, few).gpu.memory_bandwidth.value == 40e9);  // 4 x 10 is less than 256 / 2
}

TEST_CASE("tasks that do not fit on the cores are refused") {
  CpuSlots slots{.cores = 48, .memory = {}, .memory_bandwidth = {}};
  slots.tasks_per_node = 4;
  slots.cpus_per_task = 12;
  CHECK(cpu_node_error(slots).empty());
  slots.cpus_per_task = 13;
  CHECK(cpu_node_error(slots) == "4 tasks of 13 CPUs need 52 cores and the node has 48.");
}

// What calibration makes of the times of kernels, on a device whose clock is made up: every kernel
// takes a millisecond, so that each figure is arithmetic.
#include "backend/catch.hpp"

#include "backend/calibrate/kernel_clock.hpp"
#include "backend/calibrate/kernel_times.hpp"
#include "backend/execute/pass_clock.hpp"
#include "jobs.hpp"

namespace windtunnel {
namespace {

// Marks count 0, 1, 2, ...; whatever lies between two of them took `each`.
class CountingDevice : public Device {
 public:
  explicit CountingDevice(Seconds each) : each_(each) {}
  at::Device place() const override { return at::kCPU; }
  void enter(Stream, int) override { ++entered; }
  Mark mark() override { return {double(marks_++), nullptr}; }
  void wait(const Mark&) override {}
  double time(const Mark& mark) override { return mark.time; }
  Seconds between(const Mark& begin, const Mark& end) override {
    return (end.time - begin.time) * each_;
  }
  PeakMemory peak_memory() const override { return {}; }
  DeviceFacts facts() const override {
    return {.hardware = "a made-up card",
            .software = "none",
            .memory = Bytes(80e9),
            .cache = Bytes(64)};
  }

  int entered = 0;

 private:
  Seconds each_;
  int marks_ = 0;
};

constexpr double kKernel = 1e-3;              // seconds
constexpr double kLaunch = kKernel / 100;     // of 100 calls between two marks
constexpr double kAlone = kKernel - kLaunch;  // what curves count

KernelGrid small_grid() {
  KernelGrid grid;
  grid.gemms = {{64, 64, 64}, {64, 32, 128}};
  grid.attentions = {{1, 2, 16, 8, false}};
  grid.convolutions = {{1, 4}};
  grid.tensor_bytes = {1 << 14};
  grid.table_rows = 16;
  grid.row = 64;
  return grid;
}

GpuSpec card() {
  GpuSpec card{.name = "card", .source = "datasheet", .arch = "hopper"};
  card.memory_bandwidth = Rate(1e9);
  card.peak[std::size_t(DType::Fp32)] = FlopRate(2e9);
  card.peak[std::size_t(DType::Tf32)] = FlopRate(4e9);
  card.peak[std::size_t(DType::Bf16)] = FlopRate(8e9);
  card.peak[std::size_t(DType::Fp8)] = FlopRate(16e9);
  card.tdp = Watts(700);
  card.power_limit = Watts(350);
  card.gemm = {.processors = 4, .fill = 8, .latency = Seconds(1e-6), .tiles = {{16, 16, 0.5}}};
  card.efficiency[std::size_t(OpClass::Matmul)].source = "guess";
  return card;
}

KernelTimes times_of(const KernelGrid& grid, const GpuSpec& card) {
  CountingDevice device{Seconds(kKernel)};
  Progress progress(false);
  KernelTimes times = measure_kernels(device, grid, card, progress);
  CHECK(device.entered == 1);
  // The host's own clock is not made up: what it takes to issue may be noisy.
  for (const std::string& noise : times.noise) CHECK(noise.starts_with("issue: "));
  return times;
}

void check_point(const GpuSpec& gpu, OpClass op, std::size_t index, double size,
                 double efficiency) {
  INFO(kOpClassNames[std::size_t(op)]);
  const EfficiencyCurve& curve = gpu.efficiency[std::size_t(op)];
  REQUIRE(index < curve.points.size());
  CHECK(curve.points[index].size == Approx(size));
  CHECK(curve.points[index].efficiency == Approx(efficiency));
}

}  // namespace

TEST_CASE("a core's peak and bandwidth are the best that a kernel reached") {
  const KernelTimes times = times_of(small_grid(), {.arch = "cpu"});
  const GpuSpec& gpu = times.gpu;
  CHECK(gpu.name == "a made-up card");
  CHECK(gpu.arch == "cpu");
  CHECK(gpu.memory == Bytes(80e9));
  CHECK(gpu.launch_overhead.value == Approx(kLaunch));
  CHECK_FALSE(times.issue);
  CHECK(gpu.measured_gemms.empty());
  // Both GEMMs have 2 x 64^3 = 524,288 FLOP: one point. A 3 x 3 convolution of 4 channels on 28 x
  // 28 points has 2 x 9 x 16 x 784 = 225,792, attention 4 x 2 x 8 x 16^2 = 16,384.
  const double peak = 524'288 / kKernel;
  CHECK(gpu.peak[std::size_t(DType::Fp32)]->value == Approx(peak));
  CHECK(gpu.efficiency[std::size_t(OpClass::Matmul)].points.size() == 1);
  check_point(gpu, OpClass::Matmul, 0, 524'288, 1);  // more than the peak: a launch is taken off
  check_point(gpu, OpClass::Convolution, 0, 225'792, 225'792 / kAlone / peak);
  check_point(gpu, OpClass::Attention, 0, 16'384, 16'384 / kAlone / peak);
  // Of 4,096 numbers: a sum moves 12 bytes each, a gather 8, Adam 28.
  const double bandwidth = 28 * 4096 / kKernel;
  CHECK(gpu.memory_bandwidth.value == Approx(bandwidth));
  check_point(gpu, OpClass::Elementwise, 0, 12 * 4096, 12 * 4096 / kAlone / bandwidth);
  check_point(gpu, OpClass::Embedding, 0, 8 * 4096, 8 * 4096 / kAlone / bandwidth);
  check_point(gpu, OpClass::Optimizer, 0, 28 * 4096, 1);
}

TEST_CASE("a card's efficiencies are parts of what its datasheet promises") {
  KernelGrid grid = small_grid();
  grid.more_of_gemms = {DType::Tf32, DType::Bf16};
  grid.has_norms = true;
  grid.sustained = {8, 8, 16};
  grid.copied_bytes = 1000;
  const KernelTimes times = times_of(grid, card());
  const GpuSpec& gpu = times.gpu;
  CHECK(gpu.name == "card");
  CHECK(gpu.arch == "hopper");
  REQUIRE(times.issue);
  CHECK(*times.issue > Seconds(0));
  // 524,288 FLOP in a millisecond are above no peak.
  CHECK(*gpu.peak[std::size_t(DType::Fp32)] == FlopRate(2e9));
  CHECK(*gpu.peak[std::size_t(DType::Fp8)] == FlopRate(16e9));
  CHECK(gpu.memory_bandwidth == Rate(1e9));
  const double reached = 524'288 / kAlone;
  const std::vector<MeasuredGemm> gemms = {
      {DType::Fp32, 64, 64, 64, reached / 2e9}, {DType::Fp32, 64, 32, 128, reached / 2e9},
      {DType::Tf32, 64, 64, 64, reached / 4e9}, {DType::Tf32, 64, 32, 128, reached / 4e9},
      {DType::Bf16, 64, 64, 64, reached / 8e9}, {DType::Bf16, 64, 32, 128, reached / 8e9}};
  REQUIRE(gpu.measured_gemms.size() == gemms.size());
  for (std::size_t i = 0; i < gemms.size(); ++i) {
    MeasuredGemm measured = gpu.measured_gemms[i];
    CHECK(measured.efficiency == Approx(gemms[i].efficiency));
    measured.efficiency = gemms[i].efficiency;
    CHECK(measured == gemms[i]);
  }
  // So a GEMM of a measured shape takes what it took, and its launch.
  CHECK(kernel_time(gpu, matmul(64, 32, 128, DType::Bf16), DType::Bf16).value ==
        Approx(kKernel).epsilon(1e-9));
  // A sum, a copy, a norm, a softmax and a GELU move 3 x 16 KiB each.
  check_point(gpu, OpClass::Elementwise, 0, 3 << 14, (3 << 14) / kAlone / 1e9);
  CHECK(gpu.efficiency[std::size_t(OpClass::Elementwise)].points.size() == 1);
  CHECK(gpu.efficiency[std::size_t(OpClass::Elementwise)].source ==
        "calibrate, cold operands, spread up to 0.0 %");
  CHECK(gpu.efficiency[std::size_t(OpClass::Matmul)].source ==
        "calibrate, cold operands, spread up to 0.0 %; tiles: guess");
  // 2 x 8 x 8 x 16 FLOP on end, 100 calls between two marks.
  CHECK(gpu.gemm.sustained == Approx(2048 / kLaunch / 2e9));
  CHECK(gpu.gemm.tiles.size() == 1);
  CHECK(gpu.tdp == Watts(700));
  CHECK_FALSE(gpu.power_limit);
  const std::string copied =
      "a made-up card; the rest: datasheet; a copy of 1000 B moves 0.002 GB/s";
  CHECK(gpu.source.find(copied) != std::string::npos);
  CHECK(at::globalContext().float32MatmulPrecision() == at::Float32MatmulPrecision::HIGHEST);
}

TEST_CASE("kernels in 16 bits, and attention in one kernel where LibTorch has it") {
  KernelGrid grid = small_grid();
  grid.type = DType::Bf16;
  grid.is_attention_fused = kHasFusedAttention;
  grid.attentions = {{1, 2, 16, 8, true}};
  grid.sustained = {8, 8, 16};
  grid.copied_bytes = 1000;
  const GpuSpec gpu = times_of(grid, card()).gpu;
  CHECK(gpu.measured_gemms.size() == 2);
  CHECK(gpu.measured_gemms.front().type == DType::Bf16);
  // Half of the square: 8,192 FLOP forward, 2.5 times as many backward, in two kernels' time.
  if (kHasFusedAttention)
    check_point(gpu, OpClass::Attention, 0, 3.5 * 8192 / 4, 3.5 * 8192 / (2 * kAlone) / 8e9);
  // 4,096 parameters of 30 bytes: the weights are also written in 16 bits.
  check_point(gpu, OpClass::Optimizer, 0, 30 * 4096, 30 * 4096 / kAlone / 1e9);
}

TEST_CASE("the grid of a card has the jobs' own GEMMs, heads and formats") {
  Job job = job_of(model_of("gpt", {{"layers", {2}},
                                    {"hidden", {128}},
                                    {"heads", {4}},
                                    {"vocab", {515}},
                                    {"max_sequence", {64}}}),
                   {});
  job.batch = {.global = 2, .micro = 2, .sequence = 48};
  job.precision = {DType::Bf16, DType::Fp32};
  job.layers_per_stage = split_layers(job.model, job.stages());
  job.cluster.node_types.resize(1);
  job.cluster.node_types.front().gpu = card();
  const KernelGrid grid = gpu_grid({job});
  CHECK(grid.type == DType::Bf16);
  CHECK((grid.more_of_gemms == std::vector<DType>{DType::Fp32, DType::Tf32}));  // fp8 has no kernel
  const auto has = [&](const GemmShape& shape) {
    return std::count(grid.gemms.begin(), grid.gemms.end(), shape);
  };
  CHECK(has({96, 515, 128}) == 1);  // logits of 2 x 48 tokens
  CHECK(has({515, 128, 96}) == 1);  // and of their weights' gradient
  CHECK(has({96, 128, 512}) == 1);  // the MLP's second
  CHECK(has({2048, 8192, 512}) == 1);
  for (const AttentionShape& shape : grid.attentions) {
    CHECK(shape.head_size == 32);
    CHECK(shape.causal);
    CHECK(shape.batch * shape.sequence == 16384);
  }
  CHECK(grid.sustained);
}

TEST_CASE("a clock of kernels counts what runs between its marks") {
  CountingDevice device{Seconds(0.5)};
  KernelClock clock(device);
  int runs = 0;
  const auto run = [&] { ++runs; };
  CHECK(clock.cold(run) == Seconds(0.5));
  CHECK(runs == 1);
  CHECK(clock.back_to_back(run, 5) == Seconds(0.1));
  CHECK(runs == 6);
  clock.issue(run, 7);
  CHECK(runs == 13);
}

TEST_CASE("a pass has its waits taken off") {
  CountingDevice device{Seconds(1)};
  PassClock clock(device);
  clock.begin_step();
  clock.wait([] {});                         // 0, 1: before the pass
  PassClock::Stretch pass = clock.begin();   // 2
  clock.wait([] {});                         // 3, 4
  PassClock::Stretch again = clock.begin();  // 5
  clock.wait([&] { device.mark(); });        // 6, 7, 8
  clock.end(again);                          // 9
  clock.end(pass);                           // 10
  CHECK(clock.waited(pass) == Seconds(3));
  CHECK(clock.without_waits(pass) == Seconds(5));
  CHECK(clock.waited(again) == Seconds(2));
  CHECK(clock.without_waits(again) == Seconds(2));
}

}  // namespace windtunnel

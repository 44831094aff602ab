#include "backend/calibrate/kernel_times.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "backend/calibrate/kernel_clock.hpp"
#include "backend/calibrate/kernel_shapes.hpp"
#include "backend/calibrate/protocol.hpp"
#include "backend/execute/machine_description.hpp"

namespace windtunnel {

namespace {

constexpr std::size_t kRepetitions = 9;
constexpr double kLeastEfficiency = 1e-4;  // as a profile writes it

struct Timed {
  double size, work;
  Figure figure;
};
using AllTimed = std::vector<Timed>;

double best_rate(const AllTimed& all) {
  double rate = 0;
  for (const Timed& one : all) rate = std::max(rate, one.work / one.figure.time.value);
  return rate;
}

// A launch is measured on its own; where it is most of the time, half is taken off.
double without_launch(const Timed& timed, Seconds launch) {
  return std::max(timed.figure.time.value - launch.value, timed.figure.time.value / 2);
}

double efficiency_of(double work, double seconds, double peak) {
  return std::clamp(work / seconds / peak, kLeastEfficiency, 1.0);
}

// Parts of `peak` by the size of a kernel, its launch taken off.
EfficiencyCurve curve_of(const AllTimed& all, double peak, Seconds launch) {
  struct Sum {
    double work = 0, seconds = 0;
  };
  std::map<double, Sum> sums;
  double spread = 0;
  for (const Timed& one : all) {
    Sum& sum = sums[one.size];
    sum.work += one.work;
    sum.seconds += without_launch(one, launch);
    spread = std::max(spread, one.figure.spread);
  }
  EfficiencyCurve curve{
      {}, fmt::format("calibrate, cold operands, spread up to {:.1f} %", 100 * spread)};
  for (const auto& [size, sum] : sums)
    curve.points.push_back({size, efficiency_of(sum.work, sum.seconds, peak)});
  return curve;
}

// Times kernels until they repeat.
class Bench {
 public:
  Bench(Device& device, Progress& progress, std::vector<std::string>& noise)
      : device_(device), clock_(device), progress_(progress), noise_(noise) {}

  at::Device place() const { return device_.place(); }

  AllTimed timed(const std::string& what, const KernelShapes& shapes) {
    progress_.begin(what, 1);
    AllTimed all;
    for (const KernelShape& shape : shapes) {
      const std::function<void()> run = shape.prepared();
      run();
      all.push_back({shape.size, shape.work,
                     judged_figure(fmt::format("{} {}", what, shape.text),
                                   [&] { return clock_.cold(run); })});
    }
    return all;
  }

  // The shortest operation there is, hot: what remains of it is the launch.
  Seconds launch() {
    return repeated_empty("launch",
                          [this](const auto& run) { return clock_.back_to_back(run, kCalls); });
  }
  Seconds issue() {
    return repeated_empty("issue", [this](const auto& run) { return clock_.issue(run, kCalls); });
  }

  // FLOP/s that a GEMM on end holds once power has settled.
  double sustained_rate(const KernelShape& gemm) {
    progress_.begin("sustained GEMMs", 1);
    constexpr double kSettling = 2;  // seconds
    const std::function<void()> run = gemm.prepared();
    const double each = clock_.back_to_back(run, kCalls).value;
    clock_.back_to_back(run, int(std::ceil(kSettling / each)));
    const Figure figure =
        judged_figure("sustained GEMMs", [&] { return clock_.back_to_back(run, kCalls); });
    return gemm.work / figure.time.value;
  }

 private:
  static constexpr int kCalls = 100;

  Figure judged_figure(const std::string& what, const std::function<Seconds()>& once) {
    const Judgement judgement = judged([&] {
                                  std::vector<double> seconds;
                                  for (std::size_t i = 0; i < kRepetitions; ++i)
                                    seconds.push_back(once().value);
                                  return Series{{what, seconds}};
                                }).at(what);
    if (!judgement.noise.empty()) noise_.push_back(fmt::format("{}: {}", what, judgement.noise));
    return judgement.figure;
  }

  template <class Once>
  Seconds repeated_empty(const std::string& what, const Once& once) {
    progress_.begin(what, 1);
    const at::Tensor x = at::zeros({1}, at::TensorOptions(at::kFloat).device(place()));
    const std::function<void()> run = [x] { x.add_(1); };
    return judged_figure(what, [&] { return once(run); }).time;
  }

  Device& device_;
  KernelClock clock_;
  Progress& progress_;
  std::vector<std::string>& noise_;
};

AllTimed timed_gemms(Bench& bench, const KernelGrid& grid, DType type) {
  KernelShapes shapes;
  for (const GemmShape& shape : grid.gemms)
    shapes.push_back(gemm_shape(shape, type, bench.place()));
  // Whether LibTorch multiplies fp32 tensors in tf32.
  at::globalContext().setFloat32MatmulPrecision(type == DType::Tf32 ? "high" : "highest");
  AllTimed all = bench.timed(fmt::format("GEMM in {}", name_of(kDTypeNames, type)), shapes);
  at::globalContext().setFloat32MatmulPrecision("highest");
  return all;
}

// What the grid's kernels took.
struct Measurements {
  Seconds launch;
  std::map<DType, AllTimed> gemms;
  AllTimed attention, convolution, elementwise, embedding, optimizer;
};

Measurements measured(Bench& bench, const KernelGrid& grid) {
  Measurements kernels;
  kernels.launch = bench.launch();
  kernels.gemms[grid.type] = timed_gemms(bench, grid, grid.type);
  for (const DType type : grid.more_of_gemms) kernels.gemms[type] = timed_gemms(bench, grid, type);
  kernels.attention = bench.timed("attention", attention_shapes(grid, bench.place()));
  kernels.convolution = bench.timed("convolution", convolution_shapes(grid, bench.place()));
  kernels.elementwise = bench.timed("elementwise", elementwise_shapes(grid, bench.place()));
  kernels.embedding = bench.timed("embedding", embedding_shapes(grid, bench.place()));
  kernels.optimizer = bench.timed("optimizer", optimizer_shapes(grid, bench.place()));
  return kernels;
}

void set_limits(const Measurements& kernels, const KernelGrid& grid, GpuSpec& gpu) {
  const auto raise_peak = [&](DType type, double rate) {
    auto& peak = gpu.peak[std::size_t(type)];
    peak = FlopRate(std::max(rate, peak ? peak->value : 0));
  };
  for (const auto& [type, gemms] : kernels.gemms) raise_peak(type, best_rate(gemms));
  for (const AllTimed* all : {&kernels.attention, &kernels.convolution})
    raise_peak(grid.type, best_rate(*all));
  for (const AllTimed* all : {&kernels.elementwise, &kernels.embedding, &kernels.optimizer})
    gpu.memory_bandwidth = std::max(gpu.memory_bandwidth, Rate(best_rate(*all)));
}

void set_efficiencies(const Measurements& kernels, const KernelGrid& grid, GpuSpec& gpu) {
  const double peak = gpu.peak[std::size_t(grid.type)]->value;
  const double bandwidth = gpu.memory_bandwidth.value;
  const auto set = [&](OpClass op, const AllTimed& all, double limit) {
    gpu.efficiency[std::size_t(op)] = curve_of(all, limit, kernels.launch);
  };
  set(OpClass::Matmul, kernels.gemms.at(grid.type), peak);
  set(OpClass::Attention, kernels.attention, peak);
  set(OpClass::Convolution, kernels.convolution, peak);
  set(OpClass::Elementwise, kernels.elementwise, bandwidth);
  set(OpClass::Embedding, kernels.embedding, bandwidth);
  set(OpClass::Optimizer, kernels.optimizer, bandwidth);
}

void set_measured_gemms(const Measurements& kernels, const KernelGrid& grid, GpuSpec& gpu) {
  gpu.measured_gemms.clear();
  for (const auto& [type, gemms] : kernels.gemms)
    for (std::size_t i = 0; i < gemms.size(); ++i) {
      const auto& [m, n, k] = grid.gemms[i];
      const double seconds = without_launch(gemms[i], kernels.launch);
      const double peak = gpu.peak[std::size_t(type)]->value;
      gpu.measured_gemms.push_back({type, m, n, k, efficiency_of(gemms[i].work, seconds, peak)});
    }
}

// The card with what was measured in place of what was known of it.
GpuSpec measured_card(GpuSpec gpu, const Measurements& kernels, const KernelGrid& grid,
                      double sustained_rate, double copy_rate) {
  const std::string tiles = gpu.efficiency[std::size_t(OpClass::Matmul)].source;
  set_limits(kernels, grid, gpu);
  set_efficiencies(kernels, grid, gpu);
  set_measured_gemms(kernels, grid, gpu);
  gpu.gemm.sustained = std::min(1.0, sustained_rate / gpu.peak[std::size_t(grid.type)]->value);
  gpu.power_limit.reset();  // what is sustained was measured under it
  if (!gpu.gemm.tiles.empty())
    gpu.efficiency[std::size_t(OpClass::Matmul)].source += "; tiles: " + tiles;
  gpu.source +=
      fmt::format("; a copy of {} B moves {:.4g} GB/s", grid.copied_bytes, copy_rate / 1e9);
  return gpu;
}

GpuSpec measured_core(const Measurements& kernels, const KernelGrid& grid) {
  GpuSpec gpu;
  gpu.arch = "cpu";
  set_limits(kernels, grid, gpu);
  set_efficiencies(kernels, grid, gpu);
  return gpu;
}

}  // namespace

KernelTimes measure_kernels(Device& device, const KernelGrid& grid, const GpuSpec& card,
                            Progress& progress) {
  const at::NoGradGuard no_gradients;
  KernelTimes times;
  Bench bench(device, progress, times.noise);
  const DeviceFacts facts = device.facts();
  const Measurements kernels = measured(bench, grid);
  if (!grid.sustained) {
    times.gpu = measured_core(kernels, grid);
    times.gpu.name = facts.hardware;
    times.gpu.source = "calibrate on " + utc_date();
  } else {
    const double sustained =
        bench.sustained_rate(gemm_shape(*grid.sustained, grid.type, bench.place()));
    const AllTimed copy = bench.timed("copy", {copy_shape(grid.copied_bytes, bench.place())});
    GpuSpec known = card;
    known.source =
        fmt::format("calibrate on {}, {}; the rest: {}", utc_date(), facts.hardware, card.source);
    times.gpu = measured_card(known, kernels, grid, sustained, best_rate(copy));
    times.issue = bench.issue();
  }
  times.gpu.memory = facts.memory;
  times.gpu.launch_overhead = kernels.launch;
  return times;
}

double kernel_tasks(const KernelGrid& grid) {
  constexpr double kOnAll = 7, kOnGpu = 3;
  const auto more = double(grid.more_of_gemms.size());
  return kOnAll + more + (grid.sustained ? kOnGpu : 0);
}

}  // namespace windtunnel

#include "backend/calibrate/kernel_times.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "backend/calibrate/protocol.hpp"
#include "backend/execute/device.hpp"
#include "backend/execute/machine_description.hpp"
#include "backend/execute/measurement.hpp"
#include "backend/torch.hpp"

namespace windtunnel {

namespace {

// Larger than the second-level cache of a core (2 MiB), smaller than what a step touches.
constexpr std::int64_t kSweepBytes = 16 << 20;
constexpr std::size_t kRepetitions = 9;

// A kernel of one shape.
struct Shape {
  std::string text;
  double flops = 0, bytes = 0;
  std::function<void()> run;
};
using Shapes = std::vector<Shape>;

class Sweep {
 public:
  void operator()() { memory_.add_(1); }

 private:
  at::Tensor memory_ = at::zeros({kSweepBytes / 4});
};

struct Timed {
  double flops, bytes;
  Figure figure;
};

std::vector<Timed> timed(const std::string& what, const Shapes& shapes, Sweep& sweep,
                         std::vector<std::string>& noise) {
  std::vector<Timed> result;
  for (const Shape& shape : shapes) {
    const auto pass = [&] {
      std::vector<double> seconds;
      for (std::size_t i = 0; i < kRepetitions; ++i) {
        sweep();
        const double begin = monotonic_seconds();
        shape.run();
        seconds.push_back(monotonic_seconds() - begin);
      }
      return Series{{what, seconds}};
    };
    shape.run();
    const Judgement judgement = judged(pass).at(what);
    if (!judgement.noise.empty())
      noise.push_back(fmt::format("{} {}: {}", what, shape.text, judgement.noise));
    result.push_back({shape.flops, shape.bytes, judgement.figure});
  }
  return result;
}

// Cubes, and GEMMs of four times as many rows: twice and eight times the cube of a power of two.
Shapes gemms() {
  Shapes shapes;
  for (std::int64_t size = 32; size <= 1024; size *= 2)
    for (const std::int64_t rows : {size, 4 * size}) {
      const at::Tensor a = at::rand({rows, size}), b = at::rand({size, size});
      shapes.push_back({fmt::format("{} x {} x {}", rows, size, size),
                        2.0 * double(rows) * double(size * size), 0, [a, b] { at::mm(a, b); }});
    }
  return shapes;
}

// Unfused, as the layers compute it: two batched GEMMs and a softmax on [heads, s, 64].
Shapes attentions() {
  constexpr std::int64_t kHeads = 4, kHead = 64;
  Shapes shapes;
  for (std::int64_t s = 32; s <= 1024; s *= 2) {
    const at::Tensor q = at::rand({kHeads, s, kHead}), k = at::rand({kHeads, kHead, s});
    shapes.push_back({fmt::format("of {} tokens", s), 4.0 * kHeads * kHead * double(s * s), 0,
                      [q, k] { at::bmm(at::softmax(at::bmm(q, k), -1), q); }});
  }
  return shapes;
}

Shapes convolutions() {
  Shapes shapes;
  for (std::int64_t channels = 8; channels <= 256; channels *= 2) {
    constexpr std::int64_t kImage = 28;
    const at::Tensor x = at::rand({1, channels, kImage, kImage});
    const at::Tensor w = at::rand({channels, channels, 3, 3});
    shapes.push_back({fmt::format("3 x 3 of {} channels", channels),
                      2.0 * 9 * double(channels * channels) * kImage * kImage, 0,
                      [x, w] { at::conv2d(x, w, {}, 1, 1); }});
  }
  return shapes;
}

// Tensors of 16 KiB ... 64 MiB.
Shapes over_sizes(const std::function<Shape(std::int64_t elements)>& shape_of) {
  Shapes shapes;
  for (std::int64_t bytes = 1 << 14; bytes <= 1 << 26; bytes *= 8)
    shapes.push_back(shape_of(bytes / 4));
  return shapes;
}

Shape sum_of(std::int64_t elements) {
  const at::Tensor x = at::rand({elements}), y = at::rand({elements});
  return {fmt::format("{} numbers", elements), 0, 12.0 * double(elements), [x, y] { x.add_(y); }};
}

Shape rows_of(std::int64_t elements) {
  constexpr std::int64_t kRow = 256;
  const std::int64_t rows = std::max<std::int64_t>(1, elements / kRow);
  const at::Tensor table = at::rand({4096, kRow});
  const at::Tensor index = at::randint(4096, {rows}, at::kLong);
  return {fmt::format("{} rows", rows), 0, 8.0 * double(rows * kRow),
          [table, index] { table.index_select(0, index); }};
}

// Adam as the executor updates: 28 bytes a parameter (optimizer_traffic).
Shape adam_of(std::int64_t elements) {
  const at::Tensor gradient = at::rand({elements}), weight = at::rand({elements});
  const at::Tensor moment = at::zeros({elements}), variance = at::zeros({elements});
  return {fmt::format("{} parameters", elements), 0, 28.0 * double(elements), [=] {
            moment.mul_(0.9).add_(gradient, 0.1);
            variance.mul_(0.999).addcmul_(gradient, gradient, 0.001);
            weight.addcdiv_(moment, variance.sqrt().add_(1e-8), -1e-3);
          }};
}

double best(const std::vector<Timed>& all, double Timed::*work) {
  double rate = 0;
  for (const Timed& one : all) rate = std::max(rate, one.*work / one.figure.time.value);
  return rate;
}

// Parts of `peak` by the size of a kernel, its launch taken off.
EfficiencyCurve curve_of(const std::vector<Timed>& all, double Timed::*work, double peak,
                         Seconds launch) {
  EfficiencyCurve curve{{}, "calibrate, cold operands"};
  for (const Timed& one : all) {
    // A launch is measured on its own; where it is most of the time, half is taken off.
    const double time = std::max(one.figure.time.value - launch.value, one.figure.time.value / 2);
    const double part = one.*work / time / peak;
    curve.points.push_back({one.*work, std::clamp(part, 1e-4, 1.0)});
  }
  return curve;
}

// The shortest operation there is, hot: what remains is the framework.
Seconds launch_overhead(std::vector<std::string>& noise) {
  constexpr int kCalls = 1000;
  const at::Tensor x = at::zeros({1});
  const auto pass = [&] {
    std::vector<double> seconds;
    for (std::size_t i = 0; i < kRepetitions; ++i) {
      const double begin = monotonic_seconds();
      for (int call = 0; call < kCalls; ++call) x.add_(1);
      seconds.push_back((monotonic_seconds() - begin) / kCalls);
    }
    return Series{{"launch", seconds}};
  };
  const Judgement judgement = judged(pass).at("launch");
  if (!judgement.noise.empty()) noise.push_back("launch: " + judgement.noise);
  return judgement.figure.time;
}

}  // namespace

KernelTimes measure_kernels(int local_rank, Progress& progress) {
  const at::NoGradGuard no_gradients;
  make_cpu_device(local_rank, true)->enter(Stream::Compute, 0);
  KernelTimes times;
  GpuSpec& gpu = times.gpu;
  Sweep sweep;
  const auto measured = [&](const std::string& what, const Shapes& shapes) {
    progress.begin(what, 1);
    return timed(what, shapes, sweep, times.noise);
  };
  progress.begin("launch", 1);
  const Seconds launch = launch_overhead(times.noise);
  const std::vector<Timed> gemm = measured("GEMM", gemms());
  const std::vector<Timed> attention = measured("attention", attentions());
  const std::vector<Timed> convolution = measured("convolution", convolutions());
  const std::vector<Timed> sums = measured("elementwise", over_sizes(sum_of));
  const std::vector<Timed> rows = measured("embedding", over_sizes(rows_of));
  const std::vector<Timed> adam = measured("optimizer", over_sizes(adam_of));

  gpu.name = machine_description();
  gpu.source = "calibrate on " + utc_date();
  gpu.arch = "cpu";
  gpu.memory = Bytes(double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGESIZE)));
  gpu.launch_overhead = launch;
  const double peak = std::max({best(gemm, &Timed::flops), best(attention, &Timed::flops),
                                best(convolution, &Timed::flops)});
  const double bandwidth =
      std::max({best(sums, &Timed::bytes), best(rows, &Timed::bytes), best(adam, &Timed::bytes)});
  gpu.peak[std::size_t(DType::Fp32)] = FlopRate(peak);
  gpu.memory_bandwidth = Rate(bandwidth);
  const auto set = [&](OpClass op, const std::vector<Timed>& all, double Timed::*work,
                       double limit) {
    gpu.efficiency[std::size_t(op)] = curve_of(all, work, limit, launch);
  };
  set(OpClass::Matmul, gemm, &Timed::flops, peak);
  set(OpClass::Attention, attention, &Timed::flops, peak);
  set(OpClass::Convolution, convolution, &Timed::flops, peak);
  set(OpClass::Elementwise, sums, &Timed::bytes, bandwidth);
  set(OpClass::Embedding, rows, &Timed::bytes, bandwidth);
  set(OpClass::Optimizer, adam, &Timed::bytes, bandwidth);
  return times;
}

}  // namespace windtunnel

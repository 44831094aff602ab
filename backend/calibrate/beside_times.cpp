#include "backend/calibrate/beside_times.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <map>

#include "backend/calibrate/collective_call.hpp"
#include "backend/calibrate/group_clock.hpp"
#include "backend/calibrate/kernel_shapes.hpp"
#include "backend/calibrate/measured_groups.hpp"
#include "backend/calibrate/protocol.hpp"
#include "backend/execute/measurement.hpp"

namespace windtunnel {

namespace {

constexpr double kStretch = 0.05;  // seconds of kernels, so that a few interrupts do not decide
// Of communication, in times of those kernels alone: beside it they take less than so many times as
// long, and the longest of them still ends before it does.
constexpr double kMargin = 8;
constexpr double kLeastPerByte = 1e-12;  // seconds; less is noise around nothing

constexpr const char* kGemms = "GEMMs";
constexpr const char* kCopies = "copies";

// Of one group. The calling thread communicates, another one computes.
class Bench {
 public:
  Bench(const BesideShapes& shapes, Group& group, Device& device)
      : group_(group),
        device_(device),
        clock_(group, device),
        all_reduce_(group, CollectiveKind::AllReduce, CollectivePurpose::Plain,
                    shapes.all_reduce_bytes, device.place()),
        all_reduce_bytes_(double(shapes.all_reduce_bytes)) {
    const GemmShape cube{shapes.gemm, shapes.gemm, shapes.gemm};
    kernels_[kGemms] = gemm_shape(cube, shapes.type, device.place()).prepared();
    kernels_[kCopies] = copy_shape(shapes.copied_bytes, device.place()).prepared();
  }

  SlowdownBeside slowdown(int ranks, int nodes, std::vector<std::string>& noise) {
    for (const auto& [name, kernel] : kernels_) choose_counts(name, kernel);
    const Judgements judgements = judged([&] {
      Series series;
      for (const auto& [name, kernel] : kernels_) series[name] = slowdowns_of(name, kernel);
      return series;
    });
    const auto ratio = [&](const std::string& name) {
      const Judgement& judgement = judgements.at(name);
      const std::string what = fmt::format("{} beside all-reduces of {} ranks", name, ranks);
      if (!judgement.noise.empty())
        noise.push_back(fmt::format("slowdown of {}: {}", what, judgement.noise));
      if (outlasted_)
        noise.push_back(fmt::format("slowdown of {}: they outlasted the all-reduces", what));
      return Ratio{std::max(1.0, judgement.figure.time.value), judgement.figure.spread};
    };
    return {ranks, nodes, ratio(kGemms), ratio(kCopies)};
  }

  // By byte that a member sends, of kernels that take `slowdown` times as long meanwhile.
  double seconds_per_byte(double slowdown) const {
    const double n = group_.size();
    const double sent = 2 * (n - 1) / n * all_reduce_bytes_;
    return (1 - 1 / slowdown) * beside_.at(kGemms) / sent;
  }

 private:
  struct Counts {
    int kernels = 0, calls = 0;
  };

  double agreed(double own) { return clock_.longest({own}).front(); }

  template <class Run>
  static double on_another_thread(const Run& run) {
    return std::async(std::launch::async, run).get();
  }

  double kernels_time(const std::function<void()>& kernel, int count, Mark& end) {
    device_.enter(Stream::Compute, 0);
    const Mark begin = device_.mark();
    for (int i = 0; i < count; ++i) kernel();
    end = device_.mark();
    return device_.between(begin, end).value;
  }

  void choose_counts(const std::string& name, const std::function<void()>& kernel) {
    Mark end;
    const auto one = [&] { return kernels_time(kernel, 1, end); };
    on_another_thread(one);
    const double kernel_time = agreed(on_another_thread(one));
    const double call_time = clock_.repetitions([this] { all_reduce_.run(); }).front();
    const int kernels = std::max(1, int(std::ceil(kStretch / kernel_time)));
    counts_[name] = {kernels, int(std::ceil(kMargin * kernels * kernel_time / call_time)) + 1};
  }

  // What the kernels take beside all-reduces, in times of what they take alone.
  std::vector<double> slowdowns_of(const std::string& name, const std::function<void()>& kernel) {
    const Counts counts = counts_.at(name);
    std::vector<double> own, calls;
    for (std::size_t i = 0; i < kLeastRepetitions; ++i) {
      Mark end;
      const auto kernels = [&] { return kernels_time(kernel, counts.kernels, end); };
      group_.barrier();
      const double alone = on_another_thread(kernels);
      group_.barrier();
      all_reduce_.run();
      const Mark begin = device_.mark();
      std::future<double> beside = std::async(std::launch::async, kernels);
      std::vector<Mark> ended;
      for (int call = 0; call < counts.calls; ++call) {
        all_reduce_.run();
        ended.push_back(device_.mark());
      }
      own.push_back(beside.get() / alone);
      const double kernels_end = device_.time(end);
      const auto within = std::max<std::ptrdiff_t>(
          1, std::ranges::count_if(
                 ended, [&](const Mark& mark) { return device_.time(mark) <= kernels_end; }));
      calls.push_back(device_.between(begin, ended[std::size_t(within - 1)]).value /
                      double(within));
      outlasted_ = outlasted_ || kernels_end > device_.time(ended.back());
    }
    outlasted_ = agreed(outlasted_ ? 1 : 0) > 0;
    beside_[name] = distribution(clock_.longest(calls)).median;
    return clock_.longest(own);
  }

  Group& group_;
  Device& device_;
  GroupClock clock_;
  CollectiveCall all_reduce_;
  double all_reduce_bytes_;
  std::map<std::string, std::function<void()>> kernels_;
  std::map<std::string, Counts> counts_;
  std::map<std::string, double> beside_;  // seconds of an all-reduce beside kernels
  bool outlasted_ = false;                // kernels ran after the last all-reduce
};

}  // namespace

BesideShapes core_beside() {
  return {.type = DType::Fp32, .gemm = 256, .copied_bytes = 16 << 20, .all_reduce_bytes = 4 << 20};
}

BesideShapes gpu_beside(DType type) {
  return {.type = type, .gemm = 4096, .copied_bytes = 256 << 20, .all_reduce_bytes = 64 << 20};
}

double beside_tasks(int world) {
  return double(group_sizes(world).size());
}

BesideTimes measure_beside(const BesideShapes& shapes, const Place& place,
                           const RankGroups::Maker& make_group, Device& device,
                           Progress& progress) {
  const at::NoGradGuard no_gradients;
  BesideTimes times;
  if (place.world < 2) return times;
  device.enter(Stream::Communication, 0);
  device.begin_step();  // from which marks of several streams count
  const auto world = make_group("calibrate beside, world", first_ranks(place.world));
  for (const int ranks : group_sizes(place.world)) {
    progress.begin(fmt::format("kernels beside all-reduces of {} ranks", ranks), 1);
    if (place.rank < ranks) {
      const auto group = make_group(fmt::format("calibrate beside {}", ranks), first_ranks(ranks));
      Bench bench(shapes, *group, device);
      times.slowdowns.push_back(bench.slowdown(ranks, nodes_of(place, ranks), times.noise));
      const double per_byte = bench.seconds_per_byte(times.slowdowns.back().gemm.value);
      if (device.place().is_cpu() && per_byte > kLeastPerByte)
        times.cpu_seconds_per_byte = per_byte;  // the last is of all processes
    }
    world->barrier();
  }
  return times;
}

}  // namespace windtunnel

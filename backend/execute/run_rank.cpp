#include "backend/execute/run_rank.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/execute/emulated_work.hpp"
#include "backend/execute/machine_description.hpp"
#include "backend/execute/measured_trace.hpp"
#include "backend/execute/measurement.hpp"
#include "backend/execute/real_work.hpp"

namespace windtunnel {

namespace {

constexpr std::uint64_t kSeed = 1;

// What a rank runs, and what must outlive it.
struct Rank {
  Cluster cluster;
  RankGroups groups;
  std::shared_ptr<Device> device;
  std::shared_ptr<RankWork> work;
  RealWork* real = nullptr;  // null when compute is emulated
};

// A job for GPUs runs on GPUs; emulated compute runs anywhere.
std::shared_ptr<Device> device_of(const Job& job, const Place& place) {
  if (job.compute == ComputeMode::Emulated) return make_cpu_device(place.local_rank, false);
  return make_device(job.cluster.node_types.front().gpu, place.local_rank);
}

std::unique_ptr<Rank> make_rank(const Job& job, const Plan& plan, Rendezvous& rendezvous) {
  const Place& place = rendezvous.place();
  const bool emulated = job.compute == ComputeMode::Emulated;
  std::shared_ptr<Device> device = device_of(job, place);
  auto rank = std::make_unique<Rank>(
      Rank{build_cluster(job.cluster, job.gpus),
           RankGroups(plan, place.rank,
                      [&](const std::string& name, const std::vector<int>& members) {
                        return rendezvous.group(name, members, device->place());
                      }),
           device, nullptr, nullptr});
  if (emulated) {
    double slowdown = rank->cluster.gpus[std::size_t(place.rank)].slowdown;
    for (const Straggler& straggler : job.stragglers)
      if (straggler.rank == place.rank) slowdown *= straggler.slowdown;
    rank->work = make_emulated_work(plan, place.rank, rank->cluster.gpu_spec(place.rank), slowdown,
                                    rank->groups);
    return rank;
  }
  const auto real = make_real_work(
      job, plan, place.rank, *rank->device, rank->groups,
      {.seed = kSeed, .optimizer = {}, .batches = batches_of(job, plan.grid, place.rank, kSeed)});
  rank->real = real.get();
  rank->work = real;
  return rank;
}

// The rank's steps of one attempt: times of all ops of each.
using Steps = std::vector<std::vector<OpTime>>;

double length(const std::vector<std::vector<OpTime>>& by_rank) {
  double begin = INFINITY, end = 0;
  for (const auto& rank : by_rank)
    for (const OpTime& op : rank) {
      begin = std::min(begin, op.begin);
      end = std::max(end, op.end);
    }
  return end - begin;
}

class Attempts {
 public:
  Attempts(const Plan& plan, Rendezvous& rendezvous, Rank& rank,
           const std::function<void(const std::string&)>& doing)
      : plan_(plan),
        program_(
            plan.programs[std::size_t(plan.grid.coordinates(rendezvous.place().rank).pipeline)]),
        rendezvous_(rendezvous),
        rank_(rank),
        doing_(doing) {
    std::vector<int> all;
    for (int i = 0; i < plan.grid.size(); ++i) all.push_back(i);
    world_ = rendezvous.group("world barrier", all, rank.device->place());
  }

  std::vector<OpTime> step() {
    start_together();
    std::vector<OpTime> times = run_step(program_, rank_.work, rank_.device, doing_);
    if (rank_.real) losses_.push_back(rank_.real->loss());
    return times;
  }

  // As many steps as the slowest rank needs for the least time: all ranks agree on the number.
  int steps_wanted(double seconds_each) {
    const at::Tensor wanted = at::full(
        {1}, std::max(double(kLeastSteps), std::ceil(kLeastTime.value / seconds_each)), options());
    const at::Tensor whole = at::zeros({world_->size()}, options());
    world_->all_gather(whole, wanted);
    return int(whole.max().item<double>());
  }

  // Hands this rank's steps to rank 0, which gets those of all, by step and rank.
  std::vector<Steps> collected(const Steps& own, int attempt) {
    const int me = rendezvous_.place().rank;
    const auto key = [&](int rank, std::size_t step) {
      return fmt::format("times {} {} {}", attempt, rank, step);
    };
    for (std::size_t i = 0; i < own.size(); ++i) rendezvous_.set(key(me, i), serialized(own[i]));
    std::vector<Steps> all;
    if (me != 0) return all;
    for (std::size_t i = 0; i < own.size(); ++i) {
      Steps& step = all.emplace_back();
      for (int rank = 0; rank < plan_.grid.size(); ++rank)
        step.push_back(op_times(rendezvous_.get(key(rank, i))));
    }
    return all;
  }

  // Of all ranks, by step, to rank 0: the mean loss over the data-parallel ranks.
  std::vector<double> collected_losses() {
    const int me = rendezvous_.place().rank;
    if (!rank_.real) return {};
    std::string text(losses_.size() * sizeof(double), '\0');
    std::memcpy(text.data(), losses_.data(), text.size());
    rendezvous_.set(fmt::format("losses {}", me), text);
    std::vector<double> sums(losses_.size());
    if (me != 0) return {};
    for (int rank = 0; rank < plan_.grid.size(); ++rank) {
      const std::string other = rendezvous_.get(fmt::format("losses {}", rank));
      // Tensor-parallel ranks have the same loss; stages before the last have none.
      if (plan_.grid.coordinates(rank).tensor > 0) continue;
      for (std::size_t i = 0; i < sums.size(); ++i) {
        double loss = 0;
        std::memcpy(&loss, other.data() + i * sizeof loss, sizeof loss);
        sums[i] += loss / plan_.grid.data;
      }
    }
    return sums;
  }

  // Ends when all ranks have come; used before processes leave, so that none takes the store away.
  void finish() { world_->barrier(); }

 private:
  at::TensorOptions options() const {
    return at::TensorOptions(at::kDouble).device(rank_.device->place());
  }

  // Ranks leave a barrier one after another. Those of one host have one clock, so they agree on a
  // moment that is near enough to wait for and far enough for all to have heard of it.
  void start_together() {
    constexpr double kAhead = 0.02;
    world_->barrier();
    const Place& place = rendezvous_.place();
    if (place.local_world < place.world) return;
    const at::Tensor start = at::full({1}, monotonic_seconds() + kAhead, options());
    world_->broadcast(start, 0);
    sleep_until(start.item<double>());
  }

  const Plan& plan_;
  const Program& program_;
  Rendezvous& rendezvous_;
  Rank& rank_;
  const std::function<void(const std::string&)>& doing_;
  std::unique_ptr<Group> world_;
  std::vector<double> losses_;
};

// Part of the machine's time that a hypervisor took away above which a run is not quiet.
constexpr double kLargestSteal = 0.01;

std::string noise_of(const Distribution& steps, const ProcessorTimes& before,
                     const ProcessorTimes& after) {
  if (steps.spread() >= kLargestSpread)
    return fmt::format("the steps spread by {:.1f} % (p90 - p10 over the median, limit {:.0f} %)",
                       100 * steps.spread(), 100 * kLargestSpread);
  const double total = after.total - before.total;
  const double steal = total > 0 ? (after.steal - before.steal) / total : 0;
  if (steal > kLargestSteal)
    return fmt::format("the hypervisor took {:.1f} % of the processors away", 100 * steal);
  return "";
}

std::size_t nearest_to(double wanted, const std::vector<double>& values) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < values.size(); ++i)
    if (std::abs(values[i] - wanted) < std::abs(values[best] - wanted)) best = i;
  return best;
}

}  // namespace

std::optional<MeasuredRun> run_rank(const Job& job, const Plan& plan, Rendezvous& rendezvous,
                                    const std::function<void(const std::string&)>& doing) {
  at::set_num_threads(1);
  const int me = rendezvous.place().rank;
  const std::unique_ptr<Rank> rank = make_rank(job, plan, rendezvous);
  Attempts attempts(plan, rendezvous, *rank, doing);
  double seconds = 0;
  for (int i = 0; i < kWarmUpSteps; ++i) {
    const double begin = monotonic_seconds();
    attempts.step();
    seconds = monotonic_seconds() - begin;
  }
  const int count = attempts.steps_wanted(seconds);
  rank->device->forget_peak();  // drawing the parameters may have taken more than a step

  const DeviceFacts facts = rank->device->facts();
  std::optional<MeasuredRun> result;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const ProcessorTimes before = processor_times();
    Steps own;
    for (int i = 0; i < count; ++i) own.push_back(attempts.step());
    const std::vector<Steps> steps = attempts.collected(own, attempt);
    const std::string verdict = fmt::format("verdict {}", attempt);
    if (me == 0) {
      result = MeasuredRun{.job = job.name,
                           .date = utc_date(),
                           .machine = facts.hardware,
                           .software = facts.software};
      for (const Steps& step : steps) result->step_times.push_back(length(step));
      const Distribution spread = distribution(result->step_times);
      result->p10 = spread.p10;
      result->median = spread.median;
      result->p90 = spread.p90;
      result->noise = noise_of(spread, before, processor_times());
      result->attempts = attempt + 1;
      result->trace = measured_trace(plan, steps[nearest_to(spread.median, result->step_times)]);
      rendezvous.set(verdict, result->noise.empty() ? "quiet" : "noisy");
    }
    if (rendezvous.get(verdict) == "quiet") break;
  }
  const std::vector<double> losses = attempts.collected_losses();
  const PeakMemory own = rank->device->peak_memory();
  rendezvous.set(fmt::format("memory {}", me), fmt::format("{:.0f}", own.used.value));
  rendezvous.set(fmt::format("reserved {}", me), fmt::format("{:.0f}", own.reserved.value));
  if (me == 0) {
    result->losses = losses;
    const auto bytes_of_rank = [&](std::string_view what, int other) {
      return Bytes(std::stod(rendezvous.get(fmt::format("{} {}", what, other))));
    };
    for (int i = 0; i < plan.grid.size(); ++i) {
      result->peak_memory.push_back(bytes_of_rank("memory", i));
      if (own.reserved > Bytes(0)) result->peak_reserved.push_back(bytes_of_rank("reserved", i));
    }
  }
  attempts.finish();
  return result;
}

}  // namespace windtunnel

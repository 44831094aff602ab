#include "backend/calibrate/communication_times.hpp"

#include <fmt/format.h>

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <map>
#include <thread>

#include "backend/calibrate/protocol.hpp"
#include "backend/execute/device.hpp"
#include "backend/execute/measurement.hpp"
#include "plan/measured_times.hpp"

namespace windtunnel {

namespace {

// In a step operations follow one another; the first of a run finds links and buffers idle.
constexpr int kBackToBack = 4;
constexpr double kLeastPass = 0.05;  // seconds of one size, so that a few interrupts do not decide
constexpr int kMostRepetitions = 200;

struct Kind {
  CollectiveKind kind;
  CollectivePurpose purpose;
};
constexpr Kind kKinds[] = {{CollectiveKind::AllReduce, CollectivePurpose::Plain},
                           {CollectiveKind::AllReduce, CollectivePurpose::Gradients},
                           {CollectiveKind::ReduceScatter, CollectivePurpose::Plain},
                           {CollectiveKind::ReduceScatter, CollectivePurpose::Gradients},
                           {CollectiveKind::AllGather, CollectivePurpose::Plain},
                           {CollectiveKind::AllGather, CollectivePurpose::Weights},
                           {CollectiveKind::Broadcast, CollectivePurpose::Plain}};

constexpr Kind kAllToAll = {CollectiveKind::AllToAll, CollectivePurpose::Plain};

// Calls `visit` with the group, kind and size of every collective of the jobs' plans.
template <class Visit>
void for_collectives(const std::vector<Job>& jobs, const Visit& visit) {
  for (const Job& job : jobs) {
    const Plan plan = build_plan(job);
    for (const Program& program : plan.programs)
      for (const Op& op : program.ops)
        if (op.kind == OpKind::Collective) visit(op.group.kind, op.collective, op.bytes);
    for (const Block& block : plan.blocks)
      for (const BlockPiece& piece : block)
        if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what))
          visit(group_kind(collective->group), collective->kind, collective->size);
  }
}

// All-to-alls, of which only some jobs have any, where one of these has.
std::vector<Kind> kinds_of(const std::vector<Job>& jobs) {
  std::vector<Kind> kinds(std::begin(kKinds), std::end(kKinds));
  bool has_all_to_all = false;
  for_collectives(jobs, [&](GroupKind, CollectiveKind kind, Bytes) {
    has_all_to_all |= kind == CollectiveKind::AllToAll;
  });
  if (has_all_to_all) kinds.push_back(kAllToAll);
  return kinds;
}

// 1 KiB ... 64 MiB: from latency to bandwidth, over the knees of caches and of Gloo's segments.
std::set<std::int64_t> grid_of_sizes() {
  std::set<std::int64_t> sizes;
  for (std::int64_t size = 1 << 10; size <= 1 << 26; size *= 4) sizes.insert(size);
  return sizes;
}

std::vector<int> group_sizes(int world) {
  std::vector<int> sizes;
  for (int size = 2; size < world; size *= 2) sizes.push_back(size);
  if (world > 1) sizes.push_back(world);
  return sizes;
}

// Sizes of the jobs' own collectives of one kind, in whole fp32 numbers.
std::set<std::int64_t> sizes_of(const std::vector<Job>& jobs, const Kind& wanted) {
  std::set<std::int64_t> sizes = grid_of_sizes();
  for_collectives(jobs, [&](GroupKind group, CollectiveKind kind, Bytes size) {
    if (kind == wanted.kind && collective_purpose(group, kind) == wanted.purpose && size.value >= 4)
      sizes.insert(std::int64_t(size.value));
  });
  return sizes;
}

std::set<std::int64_t> message_sizes(const std::vector<Job>& jobs) {
  std::set<std::int64_t> sizes = grid_of_sizes();
  for (const Job& job : jobs)
    for (const Program& program : build_plan(job).programs)
      for (const Op& op : program.ops)
        if (op.kind == OpKind::Send) sizes.insert(std::int64_t(op.bytes.value));
  return sizes;
}

// The collective as the executor calls it, with what it does to the result (ParameterStore).
class Call {
 public:
  Call(Group& group, const Kind& kind, std::int64_t bytes)
      : group_(group),
        kind_(kind),
        part_(at::zeros({std::max<std::int64_t>(1, bytes / 4 / group.size())})),
        whole_(at::zeros({part_.numel() * group.size()})),
        kept_(at::zeros_like(keeps_whole(kind) ? whole_ : part_)) {}

  void run() {
    const at::NoGradGuard no_gradients;
    const double scale = 1.0 / group_.size();
    const bool plain = kind_.purpose == CollectivePurpose::Plain;
    switch (kind_.kind) {
      case CollectiveKind::AllReduce:
        group_.all_reduce(whole_);
        if (!plain) whole_.mul_(scale);
        return;
      case CollectiveKind::ReduceScatter:
        group_.reduce_scatter(part_, whole_);
        if (plain) return;
        whole_.zero_();
        kept_.add_(part_, scale);
        return;
      case CollectiveKind::AllGather:
        group_.all_gather(whole_, part_);
        if (!plain) kept_.copy_(whole_);
        return;
      case CollectiveKind::AllToAll:
        group_.all_to_all(kept_.chunk(group_.size()), whole_.chunk(group_.size()));
        return;
      default:
        group_.broadcast(whole_, 0);
    }
  }

 private:
  static bool keeps_whole(const Kind& kind) {
    return kind.purpose == CollectivePurpose::Weights || kind.kind == CollectiveKind::AllToAll;
  }

  Group& group_;
  Kind kind_;
  at::Tensor part_, whole_, kept_;
};

// By repetition the longest of all members' times: all members go on alike.
std::vector<double> longest(Group& group, const std::vector<double>& own) {
  const at::Tensor part = at::tensor(own, at::kDouble);
  const at::Tensor whole = at::zeros({group.size() * part.numel()}, at::kDouble);
  group.all_gather(whole, part);
  const at::Tensor most = std::get<0>(whole.view({group.size(), -1}).max(0));
  return {most.data_ptr<double>(), most.data_ptr<double>() + most.numel()};
}

// Seconds of one call, of runs of kBackToBack.
std::vector<double> repetitions(Group& group, const std::function<void()>& call) {
  const auto once = [&] {
    group.barrier();
    const double begin = monotonic_seconds();
    for (int i = 0; i < kBackToBack; ++i) call();
    return (monotonic_seconds() - begin) / kBackToBack;
  };
  const double warm = longest(group, {once(), once()})[1];
  const int count =
      std::clamp(int(kLeastPass / (kBackToBack * warm)), int(kLeastRepetitions), kMostRepetitions);
  std::vector<double> own;
  for (int i = 0; i < count; ++i) own.push_back(once());
  return longest(group, own);
}

// A curve over sizes.
MeasuredCurve curve_over(Group& group, const std::string& what, const std::set<std::int64_t>& sizes,
                         const std::function<std::function<void()>(std::int64_t)>& call_of_size,
                         std::vector<std::string>& noise) {
  MeasuredCurve curve;
  for (const std::int64_t size : sizes) {
    const std::function<void()> call = call_of_size(size);
    const Judgement judgement = judged([&] {
                                  return Series{{what, repetitions(group, call)}};
                                }).at(what);
    curve.points.push_back({double(size), judgement.figure});
    if (!judgement.noise.empty())
      noise.push_back(fmt::format("{}, {} B: {}", what, size, judgement.noise));
  }
  return curve;
}

int nodes_of(const Place& place, int ranks) {
  return (ranks + place.local_world - 1) / place.local_world;
}

// Round trips of two processes, half of each.
MeasuredCurve message_curve(Group& pair, const std::set<std::int64_t>& sizes,
                            std::vector<std::string>& noise) {
  const auto round_trip = [&](std::int64_t size) {
    const at::Tensor data = at::zeros({size}, at::kByte);
    return [&pair, data] {
      const int other = 1 - pair.rank();
      if (pair.rank() == 0) pair.send(data, other, 0);
      pair.receive(data, other, 0);
      if (pair.rank() == 1) pair.send(data, other, 0);
    };
  };
  MeasuredCurve curve = curve_over(pair, "message there and back", sizes, round_trip, noise);
  for (MeasuredCurve::Point& point : curve.points) point.figure.time = point.figure.time / 2;
  return curve;
}

// What all-reduces beside it take from compute, by byte that a member sends: the time of GEMMs
// beside them, less the time of as many alone.
double cpu_seconds_per_byte(Group& group) {
  constexpr std::int64_t kBytes = 4 << 20, kSize = 256;
  constexpr int kCalls = 16, kGemms = 50;
  const at::Tensor a = at::ones({kSize, kSize}), b = at::ones({kSize, kSize});
  at::Tensor c = at::zeros({kSize, kSize});
  const auto gemm = [&] { at::mm_out(c, a, b); };
  Call call(group, {CollectiveKind::AllReduce, CollectivePurpose::Plain}, kBytes);
  call.run();
  std::vector<double> alone, each;
  for (int pass = 0; pass < int(kLeastRepetitions); ++pass) {
    group.barrier();
    double begin = monotonic_seconds();
    for (int i = 0; i < kGemms; ++i) gemm();
    alone.push_back((monotonic_seconds() - begin) / kGemms);
    group.barrier();
    std::atomic<bool> done = false;
    std::thread communication([&] {
      cpu_set_t all;
      CPU_ZERO(&all);
      for (unsigned core = 0; core < std::thread::hardware_concurrency(); ++core)
        CPU_SET(core, &all);
      sched_setaffinity(0, sizeof all, &all);
      for (int i = 0; i < kCalls; ++i) call.run();
      done = true;
    });
    int gemms = 0;
    begin = monotonic_seconds();
    for (; !done; ++gemms) gemm();
    const double beside = monotonic_seconds() - begin;
    communication.join();
    const double n = group.size();
    const double sent = kCalls * 2 * (n - 1) / n * double(kBytes);
    each.push_back((beside - gemms * distribution(alone).median) / sent);
  }
  return distribution(longest(group, each)).median;
}

}  // namespace

double communication_tasks(const std::vector<Job>& jobs, int world) {
  return world < 2 ? 0 : double(kinds_of(jobs).size() * group_sizes(world).size() + 2);
}

CommunicationTimes measure_communication(const std::vector<Job>& jobs, Rendezvous& rendezvous,
                                         Progress& progress) {
  CommunicationTimes times;
  const Place& place = rendezvous.place();
  if (place.world < 2) return times;
  const auto first = [](int ranks) {
    std::vector<int> members(static_cast<std::size_t>(ranks));
    for (int i = 0; i < ranks; ++i) members[std::size_t(i)] = i;
    return members;
  };
  const std::unique_ptr<Group> world =
      rendezvous.group("calibrate world", first(place.world), at::kCPU);
  for (const int ranks : group_sizes(place.world)) {
    std::unique_ptr<Group> group;
    if (place.rank < ranks)
      group = rendezvous.group(fmt::format("calibrate {}", ranks), first(ranks), at::kCPU);
    for (const Kind& kind : kinds_of(jobs)) {
      const std::string what =
          fmt::format("{} ({}) of {} ranks", name_of(kCollectiveKindNames, kind.kind),
                      name_of(kCollectivePurposeNames, kind.purpose), ranks);
      progress.begin(what, 1);
      if (group) {
        const auto call_of_size = [&](std::int64_t size) {
          const auto call = std::make_shared<Call>(*group, kind, size);
          return [call] { call->run(); };
        };
        times.collectives.push_back(
            {kind.kind, kind.purpose, ranks, nodes_of(place, ranks),
             curve_over(*group, what, sizes_of(jobs, kind), call_of_size, times.noise)});
      }
      world->barrier();
    }
  }
  progress.begin("messages", 1);
  for (const int peer : std::set{1, place.local_world}) {
    if (peer >= place.world) continue;
    if (place.rank == 0 || place.rank == peer) {
      const auto pair =
          rendezvous.group(fmt::format("calibrate message {}", peer), {0, peer}, at::kCPU);
      times.messages.push_back({peer < place.local_world ? 1 : 2,
                                message_curve(*pair, message_sizes(jobs), times.noise)});
    }
    world->barrier();
  }
  progress.begin("communication beside compute", 1);
  // On a thread of its own, pinned as a step's compute stream is.
  const double cpu = std::async(std::launch::async, [&] {
                       make_cpu_device(place.local_rank, true)->enter(Stream::Compute, 0);
                       return cpu_seconds_per_byte(*world);
                     }).get();
  constexpr double kLeast = 1e-12;  // per byte; less is noise around nothing
  if (cpu > kLeast) times.cpu_seconds_per_byte = cpu;
  return times;
}

}  // namespace windtunnel

#include "backend/calibrate/communication_times.hpp"

#include <fmt/format.h>

#include <iterator>
#include <set>

#include "backend/calibrate/collective_call.hpp"
#include "backend/calibrate/group_clock.hpp"
#include "backend/calibrate/measured_groups.hpp"
#include "backend/calibrate/protocol.hpp"
#include "plan/measured_times.hpp"

namespace windtunnel {

namespace {

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

// A call that takes longer is on the straight part of its curve: of larger sizes only those that
// jobs use are measured.
constexpr Seconds kLong{0.05};

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
// GPUs reach their bandwidth later: to 1 GiB.
std::set<std::int64_t> grid_of_sizes(at::Device place) {
  const std::int64_t largest = place.is_cpu() ? 1 << 26 : 1 << 30;
  std::set<std::int64_t> sizes;
  for (std::int64_t size = 1 << 10; size <= largest; size *= 4) sizes.insert(size);
  return sizes;
}

// Sizes of the jobs' own collectives of one kind, in whole fp32 numbers.
std::set<std::int64_t> sizes_of(const std::vector<Job>& jobs, const Kind& wanted) {
  std::set<std::int64_t> sizes;
  for_collectives(jobs, [&](GroupKind group, CollectiveKind kind, Bytes size) {
    if (kind == wanted.kind && collective_purpose(group, kind) == wanted.purpose && size.value >= 4)
      sizes.insert(std::int64_t(size.value));
  });
  return sizes;
}

std::set<std::int64_t> message_sizes(const std::vector<Job>& jobs) {
  std::set<std::int64_t> sizes;
  for (const Job& job : jobs)
    for (const Program& program : build_plan(job).programs)
      for (const Op& op : program.ops)
        if (op.kind == OpKind::Send) sizes.insert(std::int64_t(op.bytes.value));
  return sizes;
}

// One process's part of all measurements.
class Bench {
 public:
  Bench(const std::vector<Job>& jobs, const Place& place, const RankGroups::Maker& make_group,
        Device& device, Progress& progress)
      : jobs_(jobs),
        place_(place),
        make_group_(make_group),
        device_(device),
        progress_(progress),
        world_(make_group("calibrate world", first_ranks(place.world))) {
    device_.enter(Stream::Communication, 0);
  }

  CommunicationTimes measured() {
    for (const int ranks : group_sizes(place_.world)) measure_collectives(ranks);
    progress_.begin("messages", 1);
    for (const int peer : std::set{1, place_.local_world})
      if (peer < place_.world) measure_messages(peer);
    return std::move(times_);
  }

 private:
  using CallOfSize = std::function<std::function<void()>(std::int64_t)>;

  // Of the first so many processes; the others wait.
  void measure_collectives(int ranks) {
    std::unique_ptr<Group> group;
    if (place_.rank < ranks)
      group = make_group_(fmt::format("calibrate {}", ranks), first_ranks(ranks));
    for (const Kind& kind : kinds_of(jobs_)) {
      const std::string what =
          fmt::format("{} ({}) of {} ranks", name_of(kCollectiveKindNames, kind.kind),
                      name_of(kCollectivePurposeNames, kind.purpose), ranks);
      progress_.begin(what, 1);
      if (group) {
        const MeasuredCurve curve =
            curve_over(*group, what, sizes_of(jobs_, kind), [&](std::int64_t size) {
              const auto call = std::make_shared<CollectiveCall>(*group, kind.kind, kind.purpose,
                                                                 size, device_.place());
              return [call] { call->run(); };
            });
        times_.collectives.push_back(
            {kind.kind, kind.purpose, ranks, nodes_of(place_, ranks), curve});
      }
      world_->barrier();
    }
  }

  // Round trips between the first process and another, half of each.
  void measure_messages(int peer) {
    if (place_.rank == 0 || place_.rank == peer) {
      const auto pair = make_group_(fmt::format("calibrate message {}", peer), {0, peer});
      const CallOfSize round_trip = [&](std::int64_t size) {
        const at::Tensor data =
            at::zeros({size}, at::TensorOptions(at::kByte).device(device_.place()));
        return [&pair, data] {
          const int other = 1 - pair->rank();
          if (pair->rank() == 0) pair->send(data, other, 0);
          pair->receive(data, other, 0);
          if (pair->rank() == 1) pair->send(data, other, 0);
        };
      };
      MeasuredCurve curve =
          curve_over(*pair, "message there and back", message_sizes(jobs_), round_trip);
      for (MeasuredCurve::Point& point : curve.points) point.figure.time = point.figure.time / 2;
      times_.messages.push_back({peer < place_.local_world ? 1 : 2, curve});
    }
    world_->barrier();
  }

  MeasuredCurve curve_over(Group& group, const std::string& what,
                           const std::set<std::int64_t>& of_jobs, const CallOfSize& call_of_size) {
    GroupClock clock(group, device_);
    std::set<std::int64_t> sizes = grid_of_sizes(device_.place());
    sizes.insert(of_jobs.begin(), of_jobs.end());
    MeasuredCurve curve;
    for (const std::int64_t size : sizes) {
      const bool is_long = !curve.points.empty() && curve.points.back().figure.time > kLong;
      if (is_long && !of_jobs.contains(size)) continue;
      const std::function<void()> call = call_of_size(size);
      const Judgement judgement = judged([&] {
                                    return Series{{what, clock.repetitions(call)}};
                                  }).at(what);
      curve.points.push_back({double(size), judgement.figure});
      if (!judgement.noise.empty())
        times_.noise.push_back(fmt::format("{}, {} B: {}", what, size, judgement.noise));
    }
    return curve;
  }

  const std::vector<Job>& jobs_;
  const Place& place_;
  const RankGroups::Maker& make_group_;
  Device& device_;
  Progress& progress_;
  std::unique_ptr<Group> world_;
  CommunicationTimes times_;
};

}  // namespace

double communication_tasks(const std::vector<Job>& jobs, int world) {
  return world < 2 ? 0 : double(kinds_of(jobs).size() * group_sizes(world).size() + 1);
}

CommunicationTimes measure_communication(const std::vector<Job>& jobs, const Place& place,
                                         const RankGroups::Maker& make_group, Device& device,
                                         Progress& progress) {
  if (place.world < 2) return {};
  return Bench(jobs, place, make_group, device, progress).measured();
}

}  // namespace windtunnel

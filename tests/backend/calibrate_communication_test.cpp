// What calibration makes of the times of collectives, messages and kernels beside them, on devices
// whose clocks are made up, so that each figure is arithmetic.
#include "backend/catch.hpp"

#include <atomic>

#include "backend/calibrate/add_communication.hpp"
#include "backend/calibrate/beside_times.hpp"
#include "backend/calibrate/communication_times.hpp"
#include "backend/thread_group.hpp"
#include "jobs.hpp"

namespace windtunnel {
namespace {

// Whatever lies between two marks took `each`; on a compute stream that has been entered since a
// thread began to communicate, `slowdown` times that.
class ScriptedDevice : public Device {
 public:
  ScriptedDevice(Seconds each, double slowdown) : each_(each), slowdown_(slowdown) {}
  at::Device place() const override { return at::kCPU; }
  void enter(Stream stream, int) override { computes_ = stream == Stream::Compute; }
  Mark mark() override { return {computes_ ? 0.0 : 1.0, nullptr}; }
  void wait(const Mark&) override {}
  // Kernels end before all collectives but the first.
  double time(const Mark& mark) override { return mark.time; }
  Seconds between(const Mark&, const Mark&) override {
    if (!computes_) return each_;
    // Of choosing how many kernels fill a stretch 2, then alone and beside in turn.
    return ++stretches_ > 4 && stretches_ % 2 == 0 ? each_ * slowdown_ : each_;
  }
  PeakMemory peak_memory() const override { return {}; }
  DeviceFacts facts() const override { return {}; }

 private:
  static thread_local bool computes_;
  Seconds each_;
  double slowdown_;
  int stretches_ = 0;  // by one compute thread at a time
};
thread_local bool ScriptedDevice::computes_ = false;

constexpr double kEach = 0.05;  // seconds: five repetitions fill a pass

// Moves nothing but the times on which the members agree.
class LoneGroup : public Group {
 public:
  using Group::Group;
  void all_reduce(at::Tensor) override {}
  void all_gather(at::Tensor whole, const at::Tensor& part) override {
    if (part.scalar_type() == at::kDouble)
      whole.view({size(), -1}).copy_(part.expand({size(), -1}));
  }
  void reduce_scatter(at::Tensor, at::Tensor) override {}
  void broadcast(at::Tensor, int) override {}
  void all_to_all(const std::vector<at::Tensor>&, const std::vector<at::Tensor>&) override {}
  void send(const at::Tensor&, int, int) override {}
  void receive(at::Tensor, int, int) override {}
  void barrier() override {}
};

// `measure` on a thread for each of `world` processes, two on each node; the first one's result.
template <class Measure>
auto of_first(int world, const Measure& measure) {
  use_one_thread_a_rank();
  ThreadGroupHubs hubs;
  std::optional<decltype(measure(Place{}, RankGroups::Maker{}))> result;
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < world; ++rank)
    ranks.emplace_back([&, rank]() noexcept {
      const Place place{.rank = rank, .world = world, .local_rank = rank % 2, .local_world = 2};
      auto own = measure(place, [&](const std::string& name, const std::vector<int>& members) {
        return hubs.group(name, members, rank);
      });
      if (rank == 0) result = std::move(own);
    });
  for (std::thread& rank : ranks) rank.join();
  return *result;
}

}  // namespace

TEST_CASE("collectives and messages are timed by the device's clock, in every group") {
  ScriptedDevice device{Seconds(kEach), 1};
  Progress progress(false);
  const RankGroups::Maker alone = [](const std::string&, const std::vector<int>& members) {
    return std::make_unique<LoneGroup>(0, int(members.size()));
  };
  const CommunicationTimes times =
      measure_communication({}, {.world = 4, .local_world = 2}, alone, device, progress);
  CHECK(times.noise.empty());
  // Seven kinds in groups of 2 ranks on one node and 4 on two; 1 KiB, 4 KiB, ... 64 MiB.
  REQUIRE(times.collectives.size() == 14);
  for (std::size_t i = 0; i < times.collectives.size(); ++i) {
    const CollectiveTime& collective = times.collectives[i];
    CHECK(collective.ranks == (i < 7 ? 2 : 4));
    CHECK(collective.nodes == (i < 7 ? 1 : 2));
    REQUIRE(collective.curve.points.size() == 9);
    CHECK(collective.curve.points.back().size == 64 << 20);
    // Four back to back lie between two marks.
    for (const MeasuredCurve::Point& point : collective.curve.points)
      CHECK(point.figure == Figure{Seconds(kEach / 4), 0});
  }
  // There and back; to the neighbour and to the other node.
  REQUIRE(times.messages.size() == 2);
  CHECK(times.messages[0].nodes == 1);
  CHECK(times.messages[1].nodes == 2);
  for (const MessageTime& message : times.messages)
    for (const MeasuredCurve::Point& point : message.curve.points)
      CHECK(point.figure == Figure{Seconds(kEach / 8), 0});
}

TEST_CASE("kernels beside all-reduces, in times of what they take alone") {
  const BesideShapes shapes{.gemm = 8, .copied_bytes = 1 << 10, .all_reduce_bytes = 1 << 10};
  const BesideTimes times =
      of_first(4, [&](const Place& place, const RankGroups::Maker& make_group) {
        // Of all members the slowest counts, the last one.
        ScriptedDevice device{Seconds(kEach), 1 + 0.25 * place.rank};
        Progress progress(false);
        return measure_beside(shapes, place, make_group, device, progress);
      });
  CHECK(times.noise.empty());
  REQUIRE(times.slowdowns.size() == 2);
  CHECK(times.slowdowns[0] == SlowdownBeside{2, 1, {1.25, 0}, {1.25, 0}});
  CHECK(times.slowdowns[1] == SlowdownBeside{4, 2, {1.75, 0}, {1.75, 0}});
  // A member sends 2 x 3/4 of 1 KiB in the 50 ms of an all-reduce; 3 / 7 of them are lost.
  REQUIRE(times.cpu_seconds_per_byte);
  CHECK(*times.cpu_seconds_per_byte == Approx(3.0 / 7 * kEach / 1536));
}

TEST_CASE("one process has nobody to communicate with") {
  const RankGroups::Maker none = [](const std::string&, const std::vector<int>&) {
    return std::unique_ptr<Group>();
  };
  ScriptedDevice device{Seconds(kEach), 1};
  Progress progress(false);
  CHECK(measure_communication({}, {}, none, device, progress).collectives.empty());
  CHECK(measure_beside({}, {}, none, device, progress).slowdowns.empty());
  CHECK(communication_tasks({}, 1) == 0);
  CHECK(beside_tasks(1) == 0);
}

TEST_CASE("another profile's communication takes the place of the like") {
  Profile profile{.name = "card", .source = "here", .date = "2026-11-23"};
  const auto all_reduce = [](CollectivePurpose purpose, int ranks, int nodes, double ms) {
    return CollectiveTime{CollectiveKind::AllReduce, purpose, ranks, nodes,
                          MeasuredCurve{{{1024, {Seconds(ms / 1e3), 0}}}}};
  };
  const CollectiveTime plain = all_reduce(CollectivePurpose::Plain, 2, 1, 1),
                       gradients = all_reduce(CollectivePurpose::Gradients, 2, 1, 2),
                       spread = all_reduce(CollectivePurpose::Plain, 2, 2, 3),
                       better = all_reduce(CollectivePurpose::Plain, 2, 1, 4),
                       larger = all_reduce(CollectivePurpose::Plain, 8, 1, 5);
  const MessageTime in_node{1, plain.curve}, between{2, plain.curve}, faster{2, better.curve};
  profile.collectives = {plain, gradients, spread};
  profile.messages = {in_node, between};
  Profile tests{.name = "fabric", .source = "there", .date = "2026-11-23"};
  tests.collectives = {better, larger};
  tests.messages = {faster};
  add_communication(tests, profile);
  CHECK(profile.source == "here, there");
  CHECK((profile.collectives == std::vector<CollectiveTime>{gradients, spread, better, larger}));
  CHECK((profile.messages == std::vector<MessageTime>{in_node, faster}));
}

}  // namespace windtunnel

// Gloo's algorithms against its source, and its latencies against what was measured on loopback.
#include <algorithm>
#include <vector>

#include "catch.hpp"
#include "collectives/families.hpp"
#include "collectives/gloo_model.hpp"
#include "collectives_groups.hpp"

using namespace windtunnel;

namespace {

constexpr Bytes kMegabyte{1e6};
constexpr Bytes kMiB{1024.0 * 1024};

std::vector<Edge> edges_of(CollectiveKind kind, int n) {
  std::vector<Edge> edges = kGloo.phases(kind, equal_nodes(n, 1), kMegabyte).front().edges;
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
    return a.from != b.from ? a.from < b.from : a.to < b.to;
  });
  return edges;
}

// Times of S / B if every member has a port of B in each direction.
double times_of_buffer(CollectiveKind kind, int n) {
  double total = 0;
  for (const Phase& phase : kGloo.phases(kind, equal_nodes(n, 1), Bytes(1))) {
    std::vector<double> out(std::size_t(n), 0), in = out;
    for (const Edge& edge : phase.edges) ++out[std::size_t(edge.from)], ++in[std::size_t(edge.to)];
    total += phase.bytes_per_edge.value * std::max(*std::max_element(out.begin(), out.end()),
                                                   *std::max_element(in.begin(), in.end()));
  }
  return total;
}

}  // namespace

TEST_CASE("gloo: the all-reduce ring goes down, the others up") {
  using Edges = std::vector<Edge>;
  CHECK(edges_of(CollectiveKind::AllReduce, 4) == Edges{{0, 3}, {1, 0}, {2, 1}, {3, 2}});
  CHECK(edges_of(CollectiveKind::AllGather, 4) == Edges{{0, 1}, {1, 2}, {2, 3}, {3, 0}});
  CHECK(edges_of(CollectiveKind::ReduceScatter, 4) == Edges{{0, 1}, {1, 2}, {2, 3}, {3, 0}});
  // In an all-reduce rank r first sends chunk r + 1, and to rank r - 1.
  const auto rounds = kGloo.rounds(CollectiveKind::AllReduce, one_node(4), kMegabyte);
  for (const Send& send : rounds.front()) {
    CHECK(send.to == (send.from + 3) % 4);
    CHECK(send.first_block == (send.from + 1) % 4);
  }
}

TEST_CASE("gloo: the broadcast tree, a member's sends at once") {
  // 0 has 1, 2 and 4; 1 has 3 and 5; 2 has 6; 3 has 7.
  const auto phases = kGloo.phases(CollectiveKind::Broadcast, one_node(8), kMegabyte);
  REQUIRE(phases.size() == 3);
  CHECK(phases[0].edges == std::vector<Edge>{{0, 1}, {0, 2}, {0, 4}});
  CHECK(phases[1].edges == std::vector<Edge>{{1, 3}, {1, 5}, {2, 6}});
  CHECK(phases[2].edges == std::vector<Edge>{{3, 7}});
  // The root's two sends share its port, 2 S/B; then 1 sends to 3: 3 S/B with four.
  CHECK(times_of_buffer(CollectiveKind::Broadcast, 2) == 1);
  CHECK(times_of_buffer(CollectiveKind::Broadcast, 3) == 2);
  CHECK(times_of_buffer(CollectiveKind::Broadcast, 4) == 3);
  CHECK(times_of_buffer(CollectiveKind::Broadcast, 8) == 6);
}

TEST_CASE("gloo: bytes of the others") {
  for (int n = 2; n <= 9; ++n) {
    CHECK(times_of_buffer(CollectiveKind::AllReduce, n) == Approx(2.0 * (n - 1) / n));
    CHECK(times_of_buffer(CollectiveKind::AllGather, n) == Approx((n - 1.0) / n));
    CHECK(times_of_buffer(CollectiveKind::ReduceScatter, n) == Approx((n - 1.0) / n));
    CHECK(times_of_buffer(CollectiveKind::AllToAll, n) == Approx((n - 1.0) / n));
    CHECK(kGloo.phases(CollectiveKind::AllToAll, one_node(n), kMegabyte).front().rounds == n - 1);
  }
}

TEST_CASE("gloo: segments") {
  // At least two to a chunk of S/n, at most 1 MiB each.
  CHECK(gloo_segments(CollectiveKind::AllReduce, 4, Bytes(1000)) == 2);
  CHECK(gloo_segments(CollectiveKind::AllReduce, 4, kMiB * 8) == 2);
  CHECK(gloo_segments(CollectiveKind::AllReduce, 4, kMiB * 9) == 3);
  CHECK(gloo_segments(CollectiveKind::AllReduce, 4, kMiB * 64) == 16);
  CHECK(gloo_segments(CollectiveKind::AllGather, 4, kMiB * 64) == 2);
  CHECK(gloo_segments(CollectiveKind::ReduceScatter, 4, kMiB * 64) == 1);
  CHECK(gloo_segments(CollectiveKind::Broadcast, 4, kMiB * 64) == 1);
}

TEST_CASE("gloo: segments hide latency behind bytes") {
  const Seconds message(28e-6), segment(21e-6);
  const auto latency = [&](int rounds, int segments, double on_links) {
    return gloo_phase_latency(rounds, segments, message, segment, Seconds(on_links)).value;
  };
  // No bytes: each of two rounds waits for a message and one further segment, 2 (28 + 21).
  CHECK(latency(2, 2, 0) == Approx(98e-6).epsilon(1e-12));
  // A segment of 10 us in a round of 20 us hides its share: 40 / 2 + 98 - 40.
  CHECK(latency(2, 2, 40e-6) == Approx(78e-6).epsilon(1e-12));
  // Segments that take longer than both latencies leave one message's.
  CHECK(latency(2, 2, 1) == Approx(28e-6).epsilon(1e-12));
  // Whole messages hide nothing.
  CHECK(latency(3, 1, 1) == Approx(84e-6).epsilon(1e-12));
}

TEST_CASE("gloo: small collectives of two ranks as measured on loopback") {
  // A message takes half of a ping-pong's 57 us, 28 us; operation 30 us and segment 21 us are what
  // fits the five medians of 1 KB: all-reduce 127 us, all-gather 80, ring reduce-scatter 59,
  // broadcast 58 (Gloo of LibTorch 1.13.1, Debian 12, two cores), barrier of one round 55 to 65.
  const auto microseconds = [](CollectiveKind kind) {
    Seconds time(30e-6);
    for (const Phase& phase : kGloo.phases(kind, one_node(2), Bytes(1000)))
      time += gloo_phase_latency(phase.rounds, int(gloo_segments(kind, 2, Bytes(1000))),
                                 Seconds(28e-6), Seconds(21e-6), Seconds(0));
    return time.value * 1e6;
  };
  CHECK(microseconds(CollectiveKind::AllReduce) == Approx(127).margin(3));
  CHECK(microseconds(CollectiveKind::AllGather) == Approx(80).margin(3));
  CHECK(microseconds(CollectiveKind::ReduceScatter) == Approx(59).margin(3));
  CHECK(microseconds(CollectiveKind::Broadcast) == Approx(58).margin(3));
}

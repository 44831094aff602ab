// Times from phases against closed forms: every port alone with alpha and B, or GPUs with a port in
// the node and a NIC each.
#include <algorithm>
#include <vector>

#include "catch.hpp"
#include "collectives/families.hpp"
#include "collectives_groups.hpp"

using namespace windtunnel;

namespace {

constexpr Bytes kGigabyte{1e9};
constexpr Seconds kAlpha{5e-6};
constexpr Rate kBandwidth{100e9};

double busiest(const std::vector<double>& loads) {
  return *std::max_element(loads.begin(), loads.end());
}

// Microseconds if nothing but each member's port limits.
double microseconds_alone(const std::vector<Phase>& phases, int n) {
  Seconds total;
  for (const Phase& phase : phases) {
    std::vector<double> out(n, 0), in(n, 0);
    for (const Edge& edge : phase.edges) ++out[edge.from], ++in[edge.to];
    const double edges = std::max(busiest(out), busiest(in));
    total += phase.rounds * kAlpha + phase.bytes_per_edge * edges / kBandwidth;
  }
  return total.value * 1e6;
}

// Milliseconds without latency if every member has a port in the node and a NIC.
double milliseconds_over_nodes(const std::vector<Phase>& phases, const Group& group, Rate port,
                               Rate nic) {
  Seconds total;
  for (const Phase& phase : phases) {
    const std::size_t n = group.node_of_member.size();
    std::vector<double> port_out(n, 0), port_in(n, 0), nic_out(n, 0), nic_in(n, 0);
    for (const Edge& edge : phase.edges) {
      const bool inside = group.node_of_member[edge.from] == group.node_of_member[edge.to];
      ++(inside ? port_out : nic_out)[edge.from];
      ++(inside ? port_in : nic_in)[edge.to];
    }
    const Seconds inside =
        phase.bytes_per_edge * std::max(busiest(port_out), busiest(port_in)) / port;
    const Seconds between =
        phase.bytes_per_edge * std::max(busiest(nic_out), busiest(nic_in)) / nic;
    total += std::max(inside, between);
  }
  return total.value * 1e3;
}

double alone(const CollectiveAlgorithm& algorithm, CollectiveKind kind, const Group& group) {
  return microseconds_alone(algorithm.phases(kind, group, kGigabyte), group.size());
}

}  // namespace

// n = 8, S = 1e9 B, B = 100 GB/s, alpha = 5 us: S/(nB) = 1250 us.
TEST_CASE("times alone are the alpha-beta forms") {
  const Group group = one_node(8);
  const auto exactly = [](double us) { return Approx(us).epsilon(1e-12); };
  // 14 (5 + 1250)
  REQUIRE(alone(kRing, CollectiveKind::AllReduce, group) == exactly(17570));
  // 7 (5 + 1250)
  REQUIRE(alone(kRing, CollectiveKind::AllGather, group) == exactly(8785));
  REQUIRE(alone(kRing, CollectiveKind::ReduceScatter, group) == exactly(8785));
  REQUIRE(alone(kPairwise, CollectiveKind::AllToAll, group) == exactly(8785));
  // 6 * 5 + 2 * 7/8 * 10000
  REQUIRE(alone(kHalvingDoubling, CollectiveKind::AllReduce, group) == exactly(17530));
  // 7 * 5 + 10000
  REQUIRE(alone(kRing, CollectiveKind::Broadcast, group) == exactly(10035));
  // 2 * 5 + 9/8 * 10000
  REQUIRE(alone(kNvls, CollectiveKind::AllReduce, group) == exactly(11260));
  REQUIRE(alone(kNvls, CollectiveKind::AllGather, group) == exactly(10005));
  // One member per node, trees of depth 3: 6 * 5 + 2 * 10000.
  REQUIRE(alone(kTree, CollectiveKind::AllReduce, equal_nodes(8, 1)) == exactly(20030));
}

// 4 nodes of 8, 200 GB/s in a node and 25 GB/s for each of 8 NICs.
TEST_CASE("hierarchical all-reduce and flat ring on 8 rails") {
  const Group group = equal_nodes(4, 8, 8);
  const auto time = [&](const CollectiveAlgorithm& algorithm) {
    return milliseconds_over_nodes(algorithm.phases(CollectiveKind::AllReduce, group, kGigabyte),
                                   group, Rate(200e9), Rate(25e9));
  };
  // 2 * 7/8 * 1e9 / 200e9 + 2 * 3/4 * (1e9 / 8) / 25e9 = 8.75 ms + 7.5 ms
  REQUIRE(time(kHierarchical) == Approx(16.25).epsilon(1e-12));
  // 2 * 31/32 * 1e9 / (8 * 25e9)
  REQUIRE(time(kRing) == Approx(9.6875).epsilon(1e-12));
  // The same without latencies: 2 (g-1)(S/(gB)) + 2 (k-1)(S/(gkb)).
  const auto phases = kHierarchical.phases(CollectiveKind::AllReduce, group, kGigabyte);
  REQUIRE(phases.size() == 3);
  REQUIRE(phases[0].rounds == 7);
  REQUIRE(phases[1].rounds == 6);
  REQUIRE(phases[1].bytes_per_edge.value == Approx(2 * 0.75 * 1e9 / 8));
}

// 4 nodes of 8, S per member: 24 of 32 parts leave by the NIC, 7 of 32 stay in the node.
TEST_CASE("the shares of an all-to-all in and between nodes") {
  const Group group = equal_nodes(4, 8, 8);
  const auto phases = kPairwise.phases(CollectiveKind::AllToAll, group, kGigabyte);
  REQUIRE(phases.size() == 1);
  double between = 0, inside = 0;
  for (const Edge& edge : phases[0].edges)
    (edge.from / 8 == edge.to / 8 ? inside : between) += phases[0].bytes_per_edge.value;
  REQUIRE(between / 32 == Approx(0.75 * 1e9));
  REQUIRE(inside / 32 == Approx(7.0 / 32 * 1e9));
}

TEST_CASE("ring channels use every rail once and stay on their local index") {
  for (const int nodes : {2, 3, 4, 5, 8})
    for (const int members : {1, 2, 3, 4, 8})
      for (const int rails : {1, 2, 4, 8}) {
        const Group group = equal_nodes(nodes, members, rails);
        const int channels = std::min(members, rails);
        // Rails that members share unevenly cannot be loaded evenly.
        if (members % channels != 0) continue;
        const auto phases = kRing.phases(CollectiveKind::AllReduce, group, kGigabyte);
        REQUIRE(int(phases[0].edges.size()) == channels * group.size());
        std::vector<int> in(group.size() * channels, 0), out = in;  // by node and rail
        int changes = 0;
        for (const Edge& edge : phases[0].edges) {
          const int from = edge.from / members, to = edge.to / members;
          if (from == to) continue;
          // A node's members share its rails in order.
          ++out[from * channels + edge.from % members * channels / members];
          ++in[to * channels + edge.to % members * channels / members];
          changes += edge.from % members != edge.to % members;
        }
        for (int node = 0; node < nodes; ++node)
          for (int rail = 0; rail < channels; ++rail) {
            REQUIRE(out[node * channels + rail] == 1);
            REQUIRE(in[node * channels + rail] == 1);
          }
        // Two members cannot have three different indices round an odd number of nodes.
        REQUIRE(changes == (members == 2 && nodes % 2 == 1 ? channels : 0));
      }
}

TEST_CASE("phases of large groups are quick and small") {
  const Group group = equal_nodes(2048, 8, 8);
  for (const CollectiveAlgorithm* algorithm : {&kRing, &kTree, &kHalvingDoubling, &kHierarchical}) {
    const auto phases = algorithm->phases(CollectiveKind::AllReduce, group, kGigabyte);
    std::size_t edges = 0;
    for (const Phase& phase : phases) edges += phase.edges.size();
    // The tree has two trees, up and down, on each of 8 channels.
    REQUIRE(edges <= std::size_t(16384) * 8 * 4);
  }
}

TEST_CASE("a group knows its nodes") {
  const Group group = group_of({3, 1, 4}, 2);
  REQUIRE(group.size() == 8);
  REQUIRE(group.nodes() == 3);
  REQUIRE(group.ranks_per_node() == 4);
  REQUIRE(channel_count(group) == 2);
  REQUIRE(channel_count(one_node(8)) == 1);
}

TEST_CASE("bus bandwidth factors are those of nccl-tests") {
  REQUIRE(bus_factor(CollectiveKind::AllReduce, 8) == 1.75);
  REQUIRE(bus_factor(CollectiveKind::AllGather, 8) == 0.875);
  REQUIRE(bus_factor(CollectiveKind::ReduceScatter, 8) == 0.875);
  REQUIRE(bus_factor(CollectiveKind::AllToAll, 8) == 0.875);
  REQUIRE(bus_factor(CollectiveKind::Broadcast, 8) == 1);
  REQUIRE(bus_factor(CollectiveKind::AllReduce, 1) == 0);
  // 1e9 B in 17500 us on 8 ranks is 100 GB/s on the bus.
  REQUIRE(1e9 / 17500e-6 * bus_factor(CollectiveKind::AllReduce, 8) == Approx(100e9));
}

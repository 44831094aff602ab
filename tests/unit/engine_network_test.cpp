// The Network alone: flows and timers with hand-computed ends.
//
// Where a network simulator for this field goes wrong, and where that is tested:
// - protocol factors and windows of TCP: "a lone flow".
// - sharing by 1 / latency: "flows whose latencies differ share fairly".
// - traffic of one direction slowing the other (acknowledgements): "duplex".
// - a rate limit that is ignored, or kept from the flow before: "a limit holds".
// - payload in whole bytes: "tiny and huge payloads".
// - completions early by the solver's precision, and drift: "many flows one after the other".
// - a flow freed inside its own completion, a slot used again: the same case, flows start there.
// - a second simulation that starts at the first one's clock: "a second simulation".
// What cannot occur: bandwidths never change while a flow is under way, links are never off, flows
// are never cancelled, no SimGrid actor, Exec or run_until is used, and there is one Engine for the
// life of a process, because Network has no call for any of it.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "cluster_examples.hpp"
#include "engine/network.hpp"

namespace windtunnel {

namespace {

using MakeNetwork = std::unique_ptr<Network> (*)(const Wiring& wiring);

struct Implementation {
  std::string name;
  MakeNetwork make;
};
const std::vector<Implementation> kBoth = {{"SimGrid", make_simgrid_network},
                                           {"contention free", make_contention_free_network}};

struct FlowAt {
  double start = 0;
  int path = 0;
  double bytes = 0;
  double limit = 0;
};

// SimGrid's clock goes on from one simulation of a process to the next, so a date is off by what a
// double leaves out at that clock. What this file has let pass so far, and its rounding, some times
// over.
double& clock_so_far() {
  static double clock = 0;
  return clock;
}
double rounding() {
  return 4 * 0x1p-52 * clock_so_far();
}

// When each flow ends, counted from the start of the simulation.
std::vector<double> ends(Network& network, const std::vector<FlowAt>& flows) {
  std::vector<double> result(flows.size(), -1);
  const auto begin = [&](std::size_t i) {
    network.flow(flows[i].path, Bytes(flows[i].bytes), Rate(flows[i].limit), flows.size() + i);
  };
  for (std::size_t i = 0; i < flows.size(); ++i) {
    if (flows[i].start > 0)
      network.after(Seconds(flows[i].start), i);
    else
      begin(i);
  }
  network.run([&](Token token) {
    if (token < flows.size())
      begin(std::size_t(token));
    else
      result[std::size_t(token) - flows.size()] = network.now().value;
  });
  clock_so_far() += network.now().value;
  return result;
}

// The same for examples in seconds and bytes that are simulated a thousand times as fast, so that
// the clock stays small.
std::vector<double> hand_ends(MakeNetwork make, Wiring wiring, std::vector<FlowAt> flows) {
  constexpr double kFaster = 1000;
  for (Rate& capacity : wiring.capacities) capacity = capacity * kFaster;
  for (FlowAt& flow : flows) {
    flow.start /= kFaster;
    flow.limit *= kFaster;
  }
  std::vector<double> result = ends(*make(wiring), flows);
  for (double& end : result) end *= kFaster;
  return result;
}
std::vector<double> simgrid_ends(const Wiring& wiring, const std::vector<FlowAt>& flows) {
  return hand_ends(make_simgrid_network, wiring, flows);
}
std::vector<double> lone_ends(const Wiring& wiring, const std::vector<FlowAt>& flows) {
  return hand_ends(make_contention_free_network, wiring, flows);
}

void check_ends(const std::vector<double>& result, const std::vector<double>& expected) {
  REQUIRE(result.size() == expected.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    INFO("flow " << i);
    CHECK(result[i] == Approx(expected[i]).epsilon(1e-12).margin(1000 * rounding()));
  }
}

Wiring one_link(double capacity) {
  return {.capacities = {Rate(capacity)}, .paths = {{{0, 1}}}};
}

}  // namespace

TEST_CASE("network: a lone flow takes alpha + bytes / beta") {
  // Latency is a timer, then the flow.
  for (const Implementation& network : kBoth)
    for (const double alpha : {0.0, 0.6e-6, 5e-6, 1e-3})
      for (const double beta : {1.25e9, 50e9, 450e9})
        for (const double bytes : {4096.0, 1e6, 100e6, 25e9}) {
          INFO(network.name << ", alpha " << alpha << ", beta " << beta << ", " << bytes << " B");
          const auto made = network.make(one_link(beta));
          const double end = ends(*made, {{alpha, 0, bytes}}).front();
          CHECK(end == Approx(alpha + bytes / beta).epsilon(1e-12).margin(rounding()));
        }
}

TEST_CASE("network: the narrowest of several links sets the rate of a lone flow") {
  // 12 GB over 100, 6 and 24 GB/s: 2 s.
  const Wiring wiring{.capacities = {Rate(100e9), Rate(6e9), Rate(24e9)},
                      .paths = {{{0, 1}, {1, 1}, {2, 1}}}};
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    check_ends(hand_ends(network.make, wiring, {{0, 0, 12e9}}), {2});
  }
}

TEST_CASE("network: tiny and huge payloads") {
  // SimGrid counts in 1/1024 B: 1/1024 B and 1/4 B are whole numbers of that, 1/3 B is off by at
  // most half of 1/1024 B. At 1 B/s bytes are seconds.
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    check_ends(hand_ends(network.make, one_link(1), {{0, 0, 1.0 / 1024}}), {1.0 / 1024});
    check_ends(hand_ends(network.make, one_link(1), {{0, 0, 0.25}}), {0.25});
    const double third = hand_ends(network.make, one_link(1), {{0, 0, 1.0 / 3}}).front();
    CHECK(std::abs(third - 1.0 / 3) <= 0.5 / 1024);
    // 1 TB at 50 GB/s and 1 PB at 50 TB/s: 20 s.
    check_ends(hand_ends(network.make, one_link(50e9), {{0, 0, 1e12}}), {20});
    check_ends(hand_ends(network.make, one_link(50e12), {{0, 0, 1e15}}), {20});
  }
}

TEST_CASE("network: a flow smaller than SimGrid's unit ends too") {
  // 2^-14 B is 1/16 of a unit. At 1 B/s it ends between 0 and one unit later.
  const double end = simgrid_ends(one_link(1), {{0, 0, 0x1p-14}}).front();
  CHECK(end >= 0);
  CHECK(end <= 1.0 / 1024);
}

TEST_CASE("network: two flows share a link from when the second one comes") {
  // 10 B/s. A has 100 B from 0, B has 30 B from 4. At 4 A has 60 B left; both get 5 B/s, B ends at
  // 4 + 30 / 5 = 10, when A has 60 - 30 = 30 B left: 10 + 30 / 10 = 13. Alone: 10 and 7.
  const std::vector<FlowAt> flows = {{0, 0, 100}, {4, 0, 30}};
  check_ends(simgrid_ends(one_link(10), flows), {13, 10});
  check_ends(lone_ends(one_link(10), flows), {10, 7});
}

TEST_CASE("network: rates are max-min fair over several links") {
  // Link 0 has 10 B/s for A and B, link 1 has 4 B/s for B and C. B and C get 2 each, A the other 8.
  // A: 40 B in 5 s. Then nothing changes for B (still held to 2 by link 1): 20 B in 10 s. C has
  // 20 - 2 * 10 = 0 left at 10 if it has 20 B; with 28 B it has 8 left and 4 B/s: 12 s.
  const Wiring wiring{.capacities = {Rate(10), Rate(4)},
                      .paths = {{{0, 1}}, {{0, 1}, {1, 1}}, {{1, 1}}}};
  const std::vector<FlowAt> flows = {{0, 0, 40}, {0, 1, 20}, {0, 2, 28}};
  check_ends(simgrid_ends(wiring, flows), {5, 10, 12});
  check_ends(lone_ends(wiring, flows), {4, 5, 7});
}

TEST_CASE("network: duplex, one direction does not slow the other") {
  // A link is one direction: 100 MB each way at 50 GB/s take 2 ms together as alone.
  const Wiring wiring{.capacities = {Rate(50e9), Rate(50e9)}, .paths = {{{0, 1}}, {{1, 1}}}};
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    check_ends(hand_ends(network.make, wiring, {{0, 0, 100e6}, {0, 1, 100e6}}), {2e-3, 2e-3});
  }
}

TEST_CASE("network: n flows into one sink take n times as long") {
  // Each from its own port of 50 GB/s into one of 50 GB/s: 100 MB each, n * 2 ms.
  for (const int n : {2, 3, 7, 32}) {
    INFO(n << " flows");
    Wiring wiring{.capacities = {Rate(50e9)}, .paths = {}};
    std::vector<FlowAt> flows;
    for (int i = 0; i < n; ++i) {
      wiring.capacities.emplace_back(50e9);
      wiring.paths.push_back({{i + 1, 1}, {0, 1}});
      flows.push_back({0, i, 100e6});
    }
    check_ends(simgrid_ends(wiring, flows), std::vector<double>(flows.size(), n * 2e-3));
    check_ends(lone_ends(wiring, flows), std::vector<double>(flows.size(), 2e-3));
  }
}

TEST_CASE("network: flows whose latencies differ share fairly") {
  // Into one sink of 50 GB/s, 100 MB each. A comes after 2 us, B after 8 us. In the 6 us alone A
  // moves 300 kB; its other 99.7 MB take 3.988 ms at half the rate: 3.996 ms. B then has 300 kB
  // left: 6 us more, 4.002 ms. Weighted by 1 / latency A would have 4/5 of the sink and end at
  // 2.5 ms.
  const Wiring wiring{.capacities = {Rate(50e9), Rate(50e9), Rate(50e9)},
                      .paths = {{{1, 1}, {0, 1}}, {{2, 1}, {0, 1}}}};
  check_ends(simgrid_ends(wiring, {{2e-6, 0, 100e6}, {8e-6, 1, 100e6}}), {3.996e-3, 4.002e-3});
}

TEST_CASE("network: a limit holds, and only for its own flow") {
  // One path of 8 B/s, 40 B at a time, each begun after the one before has ended: limit 4 takes
  // 10 s, 2 takes 20 s, 5 takes 8 s; 16 and none leave it to the link, 5 s.
  const std::vector<FlowAt> flows = {
      {0, 0, 40, 4}, {100, 0, 40, 2}, {200, 0, 40, 5}, {300, 0, 40, 16}, {400, 0, 40, 0}};
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    check_ends(hand_ends(network.make, one_link(8), flows), {10, 120, 208, 305, 405});
  }
}

TEST_CASE("network: what a limited flow leaves goes to the others") {
  // 10 B/s for two paths. A is held to 2 and takes 10 s for 20 B; B gets 8: 80 B in 10 s. Were the
  // limit on the link, not on the flow, B would have less.
  const Wiring wiring{.capacities = {Rate(10)}, .paths = {{{0, 1}}, {{0, 1}}}};
  check_ends(simgrid_ends(wiring, {{0, 0, 20, 2}, {0, 1, 80}}), {10, 10});
}

TEST_CASE("network: a link that a flow uses k times carries it k times") {
  // 12 B/s used 3 times: 4 B/s, 40 B in 10 s. Beside a flow that uses it once both get 3 B/s
  // (3 * 3 + 3 = 12): 30 B of A take 10 s; B then has the link, 42 B = 3 * 10 + 12 * 1.
  const Wiring wiring{.capacities = {Rate(12)}, .paths = {{{0, 3}}, {{0, 1}}}};
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    check_ends(hand_ends(network.make, wiring, {{0, 0, 40}}), {10});
  }
  check_ends(simgrid_ends(wiring, {{0, 0, 30}, {0, 1, 42}}), {10, 11});
  check_ends(lone_ends(wiring, {{0, 0, 30}, {0, 1, 42}}), {7.5, 3.5});
}

namespace {

// Two leaves of n nodes with one GPU and one NIC of 25 GB/s each.
Cluster two_leaves(int nodes_per_leaf, double oversubscription) {
  ClusterSpec spec =
      example_cluster("fat_tree", 2 * nodes_per_leaf, example_node("nvlink_switch", 1, 1));
  spec.fabric_parameters.set("levels", 2);
  spec.fabric_parameters.set("nodes_per_leaf", nodes_per_leaf);
  spec.fabric_parameters.set("oversubscription", oversubscription);
  REQUIRE(fabric_error(spec).empty());
  return build_cluster(spec);
}

// The first `senders` nodes of the first leaf send 25 GB each to their places on the second one;
// at a NIC's rate that is 1 s.
std::vector<double> across_leaves(const Cluster& cluster, int nodes_per_leaf, int senders) {
  Wiring wiring;
  for (const Link& link : cluster.links) wiring.capacities.push_back(link.bandwidth);
  std::vector<FlowAt> flows;
  for (int i = 0; i < senders; ++i) {
    wiring.paths.emplace_back();
    for (const int link : cluster.route(i, nodes_per_leaf + i).links)
      wiring.paths.back().push_back({link, 1});
    flows.push_back({0, i, 25e9});
  }
  return simgrid_ends(wiring, flows);
}

}  // namespace

TEST_CASE("network: an oversubscribed fat tree") {
  // 4 nodes a leaf, 2:1: two cables up at a NIC's rate. By D-mod-k destinations 4, 5, 6, 7 use
  // cables 0, 1, 0, 1: all four flows share a cable with one other, 2 s. Two flows have one each.
  const Cluster half = two_leaves(4, 2);
  check_ends(across_leaves(half, 4, 4), {2, 2, 2, 2});
  check_ends(across_leaves(half, 4, 2), {1, 1});
  check_ends(across_leaves(half, 4, 3), {2, 1, 2});
  // 7 nodes a leaf, 7:1: one cable for all seven flows.
  const Cluster seventh = two_leaves(7, 7);
  check_ends(across_leaves(seventh, 7, 7), std::vector<double>(7, 7));
  check_ends(across_leaves(seventh, 7, 1), {1});
  // Not oversubscribed: nobody waits.
  check_ends(across_leaves(two_leaves(4, 1), 4, 4), {1, 1, 1, 1});
}

TEST_CASE("network: timers come in order of their dates") {
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    const auto made = network.make(one_link(1));
    const std::vector<double> delays = {3e-3, 1e-3, 2e-3, 0.5e-3};
    for (std::size_t i = 0; i < delays.size(); ++i) made->after(Seconds(delays[i]), i);
    std::vector<Token> order;
    made->run([&](Token token) {
      CHECK(made->now().value == Approx(delays[std::size_t(token)]).epsilon(1e-9));
      order.push_back(token);
    });
    CHECK(order == std::vector<Token>{3, 1, 2, 0});
  }
}

TEST_CASE("network: timers of equal dates all come, in the same order every time") {
  // The contention-free network keeps the order in which they were set. SimGrid's does not, and
  // nothing may depend on it; but it is the same in every simulation.
  std::vector<Token> as_set;
  for (Token i = 0; i < 100; ++i) as_set.push_back(i);
  const auto order_of = [&](MakeNetwork make) {
    const auto network = make(one_link(1));
    for (const Token i : as_set) network->after(Seconds(1e-3), i);
    std::vector<Token> order;
    network->run([&](Token token) { order.push_back(token); });
    return order;
  };
  CHECK(order_of(make_contention_free_network) == as_set);
  const std::vector<Token> order = order_of(make_simgrid_network);
  CHECK(order_of(make_simgrid_network) == order);
  std::vector<Token> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == as_set);
}

TEST_CASE("network: a timer without delay fires at the same date, after what set it") {
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    const auto made = network.make(one_link(1));
    made->after(Seconds(1e-3), 0);
    std::vector<Token> order;
    made->run([&](Token token) {
      CHECK(made->now().value == Approx(1e-3).epsilon(1e-9));
      if (token < 3) made->after(Seconds(0), token + 1);
      order.push_back(token);
    });
    CHECK(order == std::vector<Token>{0, 1, 2, 3});
  }
}

TEST_CASE("network: many flows one after the other do not drift") {
  // 20,000 flows of 3 B at 7 MB/s, each begun in the completion of the one before: 60 / 7 ms.
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    const auto made = network.make(one_link(7e6));
    made->flow(0, Bytes(3), Rate(0), 1);
    made->run([&](Token token) {
      if (token < 20000) made->flow(0, Bytes(3), Rate(0), token + 1);
    });
    // Each may end early by SimGrid's precision of time, 1e-12 s.
    CHECK(std::abs(made->now().value - 60e-3 / 7) <= 20000 * 1e-12);
  }
}

TEST_CASE("network: a second simulation in a process is as the first") {
  const Wiring wiring{.capacities = {Rate(10), Rate(4)},
                      .paths = {{{0, 1}}, {{0, 1}, {1, 1}}, {{1, 2}}}};
  const std::vector<FlowAt> flows = {{0, 0, 40}, {0.3, 1, 20, 1.5}, {0.7, 2, 28}, {1e-6, 0, 1}};
  for (const Implementation& network : kBoth) {
    INFO(network.name);
    const std::vector<double> first = hand_ends(network.make, wiring, flows);
    for (int i = 0; i < 20; ++i) {
      // In between, one with other links.
      check_ends(hand_ends(network.make, one_link(3), {{0, 0, 3}}), {1});
      CHECK(network.make(wiring)->now().value == 0);
      check_ends(hand_ends(network.make, wiring, flows), first);
    }
  }
}

}  // namespace windtunnel

// NCCL's cost model against hand computations from src/graph/tuning.cc of NVIDIA/nccl 2.30.7 and
// against the tuning table that NCCL 2.29.7 logged on a real system.
#include <cmath>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "collectives/nccl_model.hpp"

using namespace windtunnel;

namespace {

using enum NcclAlgorithm;
using enum NcclProtocol;
constexpr auto kAllReduce = CollectiveKind::AllReduce;
constexpr Bytes kTiny{1};  // too small for the corrections by size, but for the tree's first entry

Rate gigabytes(double per_second) {
  return Rate(per_second * 1e9);
}

// 8 H100 on one NVSwitch; graph speeds are inputs.
NcclGraph one_h100_node() {
  return {.arch = NcclArch::Hopper,
          .channels = 16,
          .channel_intra = gigabytes(20),
          .channel_inter = gigabytes(20),
          .nic_latency = {}};
}
NcclGraph two_h100_nodes() {
  return {.arch = NcclArch::Hopper,
          .channels = 16,
          .channel_intra = gigabytes(24),
          .channel_inter = gigabytes(24),
          .nic_latency = {}};
}

double latency_us(const NcclCost& cost) {
  return cost.latency.value * 1e6;
}
double bandwidth_gbs(const NcclCost& cost) {
  return cost.algorithm_bandwidth.value / 1e9;
}

void check(const NcclGraph& graph, NcclAlgorithm algorithm, NcclProtocol protocol, int ranks,
           int nodes, double us, double gbs) {
  INFO(name_of(algorithm) << " " << name_of(protocol));
  const NcclCost cost = nccl_cost(graph, kAllReduce, algorithm, protocol, ranks, nodes, kTiny);
  REQUIRE(latency_us(cost) == Approx(us).epsilon(1e-9));
  // The tree's correction for the smallest sizes: 1, 1, 0.9.
  const double correction = algorithm == Tree && protocol == Simple ? 0.9 : 1;
  REQUIRE(bandwidth_gbs(cost) / correction == Approx(gbs).margin(5e-4));
}

// One decimal, as the log prints.
double logged(double value) {
  return std::round(value * 10 + 1e-8) / 10;
}

}  // namespace

TEST_CASE("NCCL: 8 H100 in a node, 16 channels of 20 GB/s") {
  const NcclGraph graph = one_h100_node();
  check(graph, Ring, LL, 8, 1, 15.0, 80.571429);       // 6.6 + 14 * 0.6; min(141, 160) * 8/14
  check(graph, Ring, LL128, 8, 1, 40.6, 168.228571);   // 14 + 14 * 1.9; 0.92 * 320 * 8/14
  check(graph, Ring, Simple, 8, 1, 56.0, 182.857143);  // 8.4 + 14 * 3.4; 320 * 8/14
  check(graph, Tree, LL, 8, 1, 15.2, 38.737);          // 6.8 + 2 * 7 * 0.6; 294.4 / 3.8 / 2
  check(graph, Tree, LL128, 8, 1, 31.5, 114.489);      // 14 + 2 * 7 * 1.25; 294.4 * 7/9 / 2
  check(graph, Tree, Simple, 8, 1, 64.4, 147.2);       // 8.4 + 2 * 7 * 4; 294.4 / 2
}

TEST_CASE("NCCL: 2 x 8 H100, 16 channels of 24 GB/s, Intel") {
  const NcclGraph graph = two_h100_nodes();
  check(graph, Ring, LL, 16, 2, 40.0, 20.8);        // 6.6 + 28 * max(0.6, 1) + 2 * 2.7; 39 * 16/30
  check(graph, Ring, LL128, 16, 2, 75.2, 188.416);  // 14 + 28 * 1.9 + 2 * 4
  check(graph, Ring, Simple, 16, 2, 131.6, 204.8);  // 8.4 + 28 * max(3.4, 3) + 2 * 14
  check(graph, Tree, LL, 16, 2, 25.2, 19.5);        // 6.8 + 2 (7 * 0.6 + 5); min(.., 39) / 2
  check(graph, Tree, LL128, 16, 2, 48.5, 165.6);    // 14 + 2 (7 * 1.25 + 8.5)
  check(graph, Tree, Simple, 16, 2, 92.4, 176.64);  // 8.4 + 2 (7 * 4 + 14)
}

TEST_CASE("NCCL: choice and time by size on 8 H100") {
  struct Row {
    double bytes;
    NcclProtocol protocol;
    double us;
  };
  for (const Row& row : std::vector<Row>{{1 << 10, LL, 15.012709},
                                         {1 << 13, LL, 15.101674},
                                         {1 << 16, LL, 15.813390},
                                         {1 << 19, LL, 21.507121},
                                         {1 << 20, LL, 28.014241},
                                         {1 << 22, LL128, 65.532174},
                                         {1 << 24, LL128, 140.328696},
                                         {1 << 26, Simple, 423.001600},
                                         {1 << 28, Simple, 1524.006400},
                                         {1 << 30, Simple, 5928.025600}}) {
    const NcclCost cost = nccl_choice(one_h100_node(), kAllReduce, 8, 1, Bytes(row.bytes));
    INFO(row.bytes << " bytes");
    REQUIRE(cost.algorithm == Ring);
    REQUIRE(cost.protocol == row.protocol);
    REQUIRE(cost.time(Bytes(row.bytes)).value * 1e6 == Approx(row.us).margin(1e-6));
  }
}

TEST_CASE("NCCL: NVLS in one node") {
  NcclGraph graph = one_h100_node();
  const auto never = [&](CollectiveKind kind, NcclProtocol protocol, int ranks, int nodes) {
    return std::isinf(nccl_cost(graph, kind, Nvls, protocol, ranks, nodes, kTiny).latency.value);
  };
  REQUIRE(never(kAllReduce, Simple, 8, 1));
  graph.nvls = true;
  // min(20 * 0.85 * 15/16 * 2, 20) * 16 * 8/14
  check(graph, Nvls, Simple, 8, 1, 25, 182.857143);
  // 16 * 20 * 0.85 * 15/16 * 7/8, no factor n/steps
  const auto gather = nccl_cost(graph, CollectiveKind::AllGather, Nvls, Simple, 8, 1, kTiny);
  REQUIRE(bandwidth_gbs(gather) == Approx(223.125));
  REQUIRE(never(kAllReduce, LL, 8, 1));
  REQUIRE(never(kAllReduce, Simple, 16, 2));
  REQUIRE(never(CollectiveKind::Broadcast, Simple, 8, 1));
  // 1 GiB gathers through the switch: 25 + 2^30 / 223125 us against 8.4 + 7 * 3.4 + 2^30 / 365714.
  REQUIRE(nccl_choice(graph, CollectiveKind::AllGather, 8, 1, Bytes(1 << 30)).algorithm == Ring);
  graph.arch = NcclArch::Ampere;
  REQUIRE(never(kAllReduce, Simple, 8, 1));
}

TEST_CASE("NCCL: corrections by size") {
  const NcclGraph one = one_h100_node(), two = two_h100_nodes();
  const auto tree = [&](double bytes) {
    return bandwidth_gbs(nccl_cost(one, kAllReduce, Tree, LL, 8, 1, Bytes(bytes)));
  };
  const double full = tree(1);
  REQUIRE(tree(1023) == Approx(full));              // log2(15) = 3: 1.0
  REQUIRE(tree(1024) == Approx(0.9 * full));        // entry 4
  REQUIRE(tree(64 << 12) == Approx(0.4 * full));    // entry 12
  REQUIRE(tree(64.0 * (1 << 23)) == Approx(full));  // beyond the table
  // Ring Simple over nodes: 16 channels * 16 ranks * 64 bytes is where the plateau starts.
  const auto ring = [&](const NcclGraph& graph, CollectiveKind kind, double bytes) {
    return latency_us(nccl_cost(graph, kind, Ring, Simple, 16, 2, Bytes(bytes)));
  };
  REQUIRE(ring(two, kAllReduce, 16383) == Approx(131.6));
  REQUIRE(ring(two, kAllReduce, 16384) == Approx(131.6 * 1.4));
  NcclGraph volta = two;
  volta.arch = NcclArch::Volta;
  REQUIRE(ring(volta, kAllReduce, 16384) == Approx(131.6 * 1.9));
  REQUIRE(ring(two, CollectiveKind::AllGather, 16384) == Approx(8.4 + 14 * 3.4 + 14));
}

TEST_CASE("NCCL: host and NIC enter the latency of a ring over nodes") {
  NcclGraph graph = two_h100_nodes();
  const auto us = [&](NcclProtocol protocol) {
    return latency_us(nccl_cost(graph, kAllReduce, Ring, protocol, 16, 2, kTiny));
  };
  graph.amd_cpu = true;
  REQUIRE(us(LL) == Approx(6.6 + 28 * 2 + 2 * 2.7));
  REQUIRE(us(Simple) == Approx(8.4 + 28 * 6 + 2 * 14));
  graph.nic_latency = Seconds(1.5e-6);
  REQUIRE(us(LL) == Approx(6.6 + 28 * 2 + 2 * (2.7 + 1.5)));
  REQUIRE(us(Simple) == Approx(8.4 + 28 * 6 + 2 * (14 + 3)));
}

// eunomia-bpf/nccl-eBPF, debug log of NCCL 2.29.7: 2 ranks as 2 nodes over sockets, 2 channels,
// LL128 off. The two graph speeds are inferred from the log: ring 1.2, tree 2.4 GB/s per channel.
TEST_CASE("NCCL: the table that a real system logged") {
  const NcclGraph ring{.arch = NcclArch::Blackwell,
                       .intra = NcclLink::Pci,
                       .channels = 2,
                       .channel_intra = gigabytes(1.2),
                       .channel_inter = gigabytes(1.2),
                       .nic_latency = {},
                       .ll128 = false};
  NcclGraph tree = ring;
  tree.channel_intra = gigabytes(2.4);
  tree.plain_tree = true;
  struct Row {
    CollectiveKind kind;
    NcclAlgorithm algorithm;
    double ll_us, ll_gbs, simple_us, simple_gbs;
  };
  for (const Row& row :
       std::vector<Row>{{kAllReduce, Ring, 16.6, 1.2, 36.4, 2.4},
                        {CollectiveKind::AllGather, Ring, 11.6, 2.4, 22.4, 4.8},
                        {CollectiveKind::ReduceScatter, Ring, 11.6, 2.4, 22.4, 4.8},
                        {CollectiveKind::Broadcast, Ring, 9.3, 1.2, 22.4, 2.4},
                        {kAllReduce, Tree, 16.8, 0.5, 36.4, 1.9}}) {
    const NcclGraph& graph = row.algorithm == Tree ? tree : ring;
    const auto cost = [&](NcclProtocol protocol) {
      return nccl_cost(graph, row.kind, row.algorithm, protocol, 2, 2, kTiny);
    };
    REQUIRE(logged(latency_us(cost(LL))) == row.ll_us);
    REQUIRE(logged(latency_us(cost(Simple))) == row.simple_us);
    REQUIRE(logged(bandwidth_gbs(cost(LL))) == row.ll_gbs);
    const double correction = row.algorithm == Tree ? 0.9 : 1;
    REQUIRE(logged(bandwidth_gbs(cost(Simple)) / correction) == row.simple_gbs);
    REQUIRE(std::isinf(latency_us(cost(LL128))));
  }
  // Its choice for a broadcast: LL through 16 KiB, then Simple.
  for (int log_size = 10; log_size <= 27; ++log_size) {
    const Bytes size{double(1 << log_size)};
    const NcclCost cost = nccl_choice(ring, CollectiveKind::Broadcast, 2, 2, size);
    REQUIRE(cost.protocol == (log_size <= 14 ? LL : Simple));
  }
}

// 2 x 8 H100 with a ring for each channel: a broadcast of Simple waits a tree chunk per step.
TEST_CASE("NCCL: broadcast with the same or with differing channels") {
  NcclGraph graph = two_h100_nodes();
  const auto us = [&](NcclProtocol protocol) {
    return latency_us(nccl_cost(graph, CollectiveKind::Broadcast, Ring, protocol, 16, 2, kTiny));
  };
  REQUIRE(us(LL) == Approx(6.6 + 2.7));
  graph.same_channels = false;
  REQUIRE(us(LL) == Approx(6.6 + 16 * 2.7));
  REQUIRE(us(Simple) == Approx(8.4 + 16 * 14));
}

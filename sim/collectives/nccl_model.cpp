// Source of every number and rule here: NVIDIA/nccl 2.30.7 (5067397c), src/graph/tuning.cc, the
// table or function named beside it. NCCL computes in float; here it is double.
// Leaves out: CollNet, NVLSTree, PAT, user overrides, the aggregation of several operations. NVLS
// is offered in one node only, because over several it needs CollNet. All-to-all is no algorithm of
// NCCL's but a set of point-to-point sends, so the model has no cost for it.
#include "collectives/nccl_model.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

#include "base/check.hpp"

namespace windtunnel {
namespace {

using PerProtocol = std::array<double, 3>;   // LL, LL128, Simple
using PerNodeCount = std::array<double, 3>;  // 1 node, 2 nodes, more

// baseLatencies, us; rows are Tree, Ring, NVLS.
constexpr std::array<PerProtocol, 3> kBaseLatency = {
    {{6.8, 14.0, 8.4}, {6.6, 14.0, 8.4}, {0, 0, 0}}};
// hwLatencies, us; same rows.
constexpr std::array<PerProtocol, 3> kNvLinkLatency = {
    {{0.6, 1.25, 4.0}, {0.6, 1.9, 3.4}, {0, 0, 25}}};
constexpr std::array<PerProtocol, 3> kPciLatency = {{{1.0, 1.9, 4.0}, {1.0, 2.5, 5.7}, {0, 0, 0}}};
constexpr std::array<PerProtocol, 3> kNetworkLatency = {
    {{5.0, 8.5, 14.0}, {2.7, 4.0, 14.0}, {0, 0, 18}}};

// GB/s; rows are Volta, Ampere, Hopper, Blackwell.
using PerArch = std::array<PerNodeCount, 4>;
// llMaxBws, of all channels; over several nodes the row is that of the CPU: 0 Intel, 1 AMD.
constexpr PerArch kMaxLl = {{{39, 39, 20.4}, {87.7, 22.5, 19}, {141, 45, 35}, {282, 90, 70}}};
// The next three are per channel.
constexpr PerArch kMaxRingLl128 = {  // perChMaxRingLL128Bws
    {{20, 20, 20}, {20, 20, 20}, {36.7, 36.7, 36.7}, {40, 40, 40}}};
constexpr PerArch kMaxTreeLl128 = {  // perChMaxTreeLL128Bws
    {{20, 20, 20}, {20, 20, 20}, {36.7, 36.7, 29}, {55.6, 31.67, 20}}};
constexpr PerArch kMaxTree = {  // perChMaxTreeBws
    {{26.5, 18.5, 10}, {24, 23.6, 17.8}, {38.7, 41.4, 36}, {70, 42.8, 24}}};
constexpr std::array<double, 4> kNvlsEfficiency = {0, 0, 0.85, 0.74};  // nvlsEfficiency

// treeCorrectionFactor, by protocol and log2(bytes / 64).
constexpr std::array<std::array<double, 24>, 3> kTreeCorrection = {
    {{1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5,
      0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0},
     {1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6,
      0.6, 0.6, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9, 1.0, 1.0, 1.0},
     {0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5,
      0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.7, 0.7, 0.8, 0.9, 0.9, 0.9}}};

constexpr std::array kAlgorithms = {NcclAlgorithm::Tree, NcclAlgorithm::Ring, NcclAlgorithm::Nvls};
constexpr std::array kProtocols = {NcclProtocol::LL, NcclProtocol::LL128, NcclProtocol::Simple};

struct Case {
  const NcclGraph& graph;
  CollectiveKind kind;
  NcclAlgorithm algorithm;
  NcclProtocol protocol;
  int ranks, nodes;

  bool all_reduce() const { return kind == CollectiveKind::AllReduce; }
  bool broadcast() const { return kind == CollectiveKind::Broadcast; }
  bool simple() const { return protocol == NcclProtocol::Simple; }
  double ranks_per_node() const { return double(ranks) / nodes; }
  std::size_t algorithm_row() const { return std::size_t(algorithm); }
  std::size_t protocol_row() const { return std::size_t(protocol); }
  std::size_t arch_row() const { return std::size_t(graph.arch); }
  std::size_t node_column() const { return std::size_t(std::min(nodes, 3) - 1); }
  int steps() const { return all_reduce() ? 2 * (ranks - 1) : broadcast() ? ranks : ranks - 1; }
};

int floor_log2(std::uint64_t x) {
  return x == 0 ? 0 : std::bit_width(x) - 1;
}

bool offered(const Case& c) {
  if (c.protocol == NcclProtocol::LL128 && !c.graph.ll128) return false;
  switch (c.algorithm) {
    case NcclAlgorithm::Ring:
      return true;
    case NcclAlgorithm::Tree:
      return c.all_reduce();
    case NcclAlgorithm::Nvls:
      return c.graph.nvls && !c.broadcast() && c.simple() && c.nodes == 1 &&
             c.graph.channels >= 2 && kNvlsEfficiency[c.arch_row()] > 0;
  }
  return false;
}

double nvls_channel_bandwidth(const Case& c) {
  const double channels = c.graph.channels;
  const double share =
      c.all_reduce() ? 2 : (c.ranks_per_node() - 1) / c.ranks_per_node();  // it pipelines two
  const double intra = c.graph.channel_intra.value / 1e9 * kNvlsEfficiency[c.arch_row()] *
                       (channels - 1) / channels * share;
  return std::min(intra, c.graph.channel_inter.value / 1e9);
}

// ncclTopoTuneModel: GB/s that the collective gets, before the correction for size.
double algorithm_bandwidth(const Case& c) {
  const std::size_t arch = c.arch_row(), column = c.node_column();
  const double channels = c.graph.channels;
  const double max_ll = kMaxLl[c.nodes == 1 ? arch : c.graph.amd_cpu ? 1 : 0][column];
  const Rate channel = c.nodes <= 2 ? c.graph.channel_intra : c.graph.channel_inter;
  double bus = channels * channel.value / 1e9;
  if (c.algorithm == NcclAlgorithm::Nvls) {
    bus = channels * nvls_channel_bandwidth(c);
    if (!c.all_reduce()) return bus;
  }
  if (c.algorithm == NcclAlgorithm::Tree) {
    bus = std::min(bus * 0.92, channels * kMaxTree[arch][column]);
    if (c.protocol == NcclProtocol::LL) bus = std::min(bus / 3.8, max_ll);
    if (c.protocol == NcclProtocol::LL128)
      bus = std::min(bus * (c.nodes == 1 ? 7.0 / 9.0 : 120.0 / 128.0),
                     channels * kMaxTreeLl128[arch][column]);
    return bus * (c.graph.plain_tree ? 0.85 : 1) * 0.5;
  }
  if (c.algorithm == NcclAlgorithm::Ring && c.protocol == NcclProtocol::LL)
    bus = std::min(max_ll, bus * 0.5);
  if (c.algorithm == NcclAlgorithm::Ring && c.protocol == NcclProtocol::LL128)
    bus = std::min(bus * 0.92, channels * kMaxRingLl128[arch][column]);
  return bus * c.ranks / c.steps();
}

// ncclTopoTuneModel, ring part: us.
double ring_latency(const Case& c, double intra, double network) {
  if (c.broadcast()) {
    // The hardware's own row, without the NIC's latency; with differing channels it counts per
    // step.
    const auto& hardware = c.nodes > 1                         ? kNetworkLatency
                           : c.graph.intra == NcclLink::NvLink ? kNvLinkLatency
                                                               : kPciLatency;
    const std::size_t row =
        std::size_t(c.simple() && !c.graph.same_channels ? NcclAlgorithm::Tree : c.algorithm);
    return hardware[row][c.protocol_row()] * (c.graph.same_channels ? 1 : c.steps());
  }
  const double overhead =
      c.nodes == 1 ? 0 : (c.graph.amd_cpu ? 2.0 : 1.0) * (c.simple() ? 3 : 1);  // getNetOverhead
  const int between = (c.nodes - 1) * (c.all_reduce() ? 2 : 1);
  return (c.steps() - between) * std::max(intra, overhead) + between * network;
}

// ncclTopoTuneModel: us, before the correction for size.
double latency(const Case& c) {
  const std::size_t row = c.algorithm_row(), protocol = c.protocol_row();
  const auto& inside = c.graph.intra == NcclLink::NvLink ? kNvLinkLatency : kPciLatency;
  const double intra = inside[row][protocol];
  // With one rank per node the network's latency is fully exposed: the tree's row. Simple pays the
  // NIC twice, for the flush.
  const std::size_t network_row = c.ranks == c.nodes ? std::size_t(NcclAlgorithm::Tree) : row;
  const double network = kNetworkLatency[network_row][protocol] +
                         c.graph.nic_latency.value * 1e6 * (c.simple() ? 2 : 1);
  const double base = kBaseLatency[row][protocol];
  const int hops_in_node = c.ranks / c.nodes - 1;  // whole ranks, as NCCL rounds
  switch (c.algorithm) {
    case NcclAlgorithm::Ring:
      return base + ring_latency(c, intra, network);
    case NcclAlgorithm::Tree:
      return base + 2 * (hops_in_node * intra + floor_log2(std::uint64_t(c.nodes)) * network);
    case NcclAlgorithm::Nvls:
      return intra;
  }
  return 0;
}

// ncclTopoGetAlgoTime: what the size does to the two.
double bandwidth_correction(const Case& c, std::uint64_t bytes) {
  const std::size_t log_size = std::size_t(floor_log2(bytes >> 6));
  if (c.algorithm != NcclAlgorithm::Tree || log_size >= 23) return 1;  // the last entry is unused
  return kTreeCorrection[c.protocol_row()][log_size];
}

double latency_correction(const Case& c, std::uint64_t bytes) {
  const bool plateau = c.algorithm == NcclAlgorithm::Ring && c.simple() && c.nodes > 1 &&
                       c.all_reduce() &&
                       bytes / (std::uint64_t(c.graph.channels) * std::uint64_t(c.ranks)) >= 64;
  return !plateau ? 1 : c.graph.arch == NcclArch::Volta ? 1.9 : 1.4;
}

}  // namespace

NcclCost nccl_cost(const NcclGraph& graph, CollectiveKind kind, NcclAlgorithm algorithm,
                   NcclProtocol protocol, int ranks, int nodes, Bytes size) {
  SIM_CHECK(kind != CollectiveKind::AllToAll, "NCCL has no algorithm for all-to-all");
  SIM_CHECK(ranks > 1 && nodes >= 1 && nodes <= ranks, "a collective of two ranks or more");
  const Case c{graph, kind, algorithm, protocol, ranks, nodes};
  NcclCost cost{
      .algorithm = algorithm, .protocol = protocol, .latency = {}, .algorithm_bandwidth = {}};
  if (!offered(c)) {
    constexpr double kNever = std::numeric_limits<double>::infinity();
    cost.latency = Seconds(kNever);
    cost.algorithm_bandwidth = Rate(kNever);
    return cost;
  }
  const auto bytes = std::uint64_t(size.value);
  cost.latency = Seconds(latency(c) * latency_correction(c, bytes) / 1e6);
  cost.algorithm_bandwidth = Rate(algorithm_bandwidth(c) * bandwidth_correction(c, bytes) * 1e9);
  return cost;
}

NcclCost nccl_choice(const NcclGraph& graph, CollectiveKind kind, int ranks, int nodes,
                     Bytes size) {
  NcclCost best{.algorithm = {},
                .protocol = {},
                .latency = Seconds(std::numeric_limits<double>::infinity()),
                .algorithm_bandwidth = Rate(1)};
  for (const NcclAlgorithm algorithm : kAlgorithms)
    for (const NcclProtocol protocol : kProtocols) {
      const NcclCost cost = nccl_cost(graph, kind, algorithm, protocol, ranks, nodes, size);
      if (cost.time(size) < best.time(size)) best = cost;
    }
  return best;
}

std::string_view name_of(NcclAlgorithm algorithm) {
  constexpr std::array<std::string_view, 3> names = {"Tree", "Ring", "NVLS"};
  return names[std::size_t(algorithm)];
}

std::string_view name_of(NcclProtocol protocol) {
  constexpr std::array<std::string_view, 3> names = {"LL", "LL128", "Simple"};
  return names[std::size_t(protocol)];
}

}  // namespace windtunnel

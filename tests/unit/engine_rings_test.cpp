// Plans whose only op is one collective, against closed forms: n ranks, S bytes, latency a of a
// message, bandwidth B of a link.
#include <string>
#include <vector>

#include "catch.hpp"
#include "cluster_examples.hpp"
#include "collectives/nccl_measured.hpp"
#include "collectives/nccl_model.hpp"
#include "engine/simulate.hpp"
#include "engine_plans.hpp"

namespace windtunnel {

namespace {

constexpr double kNic = 25e9;  // B of a NIC, as in example_node

// Nodes on one switch. Links inside a node are far wider than a NIC and have no latency.
ClusterSpec star_of(int nodes, int gpus, int nics, double latency) {
  NodeType node = example_node("nvlink_switch", gpus, nics);
  node.interconnect_parameters.set("bandwidth", 1e15);
  node.interconnect_parameters.set("latency", 0);
  ClusterSpec spec = example_cluster("star", nodes, node);
  spec.fabric_parameters.set("latency", latency);
  return spec;
}

double time_of(const Plan& plan, const ClusterSpec& spec, Fidelity fidelity,
               NetworkKind network = NetworkKind::SimGrid) {
  return simulate(plan, build_cluster(spec), {.fidelity = fidelity, .network = network}).end.value;
}

// SimGrid counts in 1/1024 B, so each of a collective's flows is off by at most half of that: its
// rounds together by 30 * 0.5 / 1024 B on a NIC.
constexpr double kRounding = 30 * 0.5 / 1024 / kNic;

void check_at(const std::vector<Fidelity>& fidelities, const Plan& plan, const ClusterSpec& spec,
              double expected) {
  for (const Fidelity fidelity : fidelities)
    for (const NetworkKind network : {NetworkKind::SimGrid, NetworkKind::ContentionFree}) {
      INFO(name_of(kFidelityNames, fidelity)
           << (network == NetworkKind::SimGrid ? ", SimGrid" : ", contention free"));
      CHECK(time_of(plan, spec, fidelity, network) ==
            Approx(expected).epsilon(1e-9).margin(kRounding));
    }
}
void check_everywhere(const Plan& plan, const ClusterSpec& spec, double expected) {
  check_at({kFidelities.begin(), kFidelities.end()}, plan, spec, expected);
}

}  // namespace

TEST_CASE("rings: all-reduce, all-gather and reduce-scatter between nodes") {
  // One GPU and one NIC to a node: 2 (n-1) (a + S / (n B)), and half of that for the other two.
  for (const double latency : {0.0, 5e-6})
    for (const double bytes : {1e3, 1e6, 123456789.0})
      for (int n = 2; n <= 16; ++n) {
        INFO(n << " ranks, " << bytes << " B, latency " << latency);
        const double pass = (n - 1) * (latency + bytes / (n * kNic));
        const ClusterSpec spec = star_of(n, 1, 1, latency);
        check_everywhere(one_collective(CollectiveKind::AllReduce, bytes, n), spec, 2 * pass);
        check_everywhere(one_collective(CollectiveKind::AllGather, bytes, n), spec, pass);
        check_everywhere(one_collective(CollectiveKind::ReduceScatter, bytes, n), spec, pass);
      }
}

TEST_CASE("rings: all-reduce inside a node") {
  // A GPU's port has 300 GB/s and a message takes 2 us: 8 ranks and 1 GB need
  // 14 (2 us + 1 GB / (8 * 300 GB/s)) = 28 us + 5.8333 ms.
  NodeType node = example_node("nvlink_switch", 8, 0);
  node.interconnect_parameters.set("bandwidth", 300e9);
  node.interconnect_parameters.set("latency", 2e-6);
  const ClusterSpec spec{.name = "one", .node_types = {node}, .type_of_node = {0}};
  check_everywhere(one_collective(CollectiveKind::AllReduce, 1e9, 8), spec, 28e-6 + 14.0 / 2400);
}

TEST_CASE("rings: a node's NICs carry a share each") {
  // 4 GPUs and 2 NICs to a node, 3 nodes: two rings of 12 ranks, each with half of the bytes over
  // one NIC of each node: 22 (a + S / 2 / (12 B)). Inside the node nothing takes time.
  const double expected = 22 * (5e-6 + 1e9 / 2 / (12 * kNic));
  check_everywhere(one_collective(CollectiveKind::AllReduce, 1e9, 12), star_of(3, 4, 2, 5e-6),
                   expected);
}

TEST_CASE("rings: two rings over one NIC take twice as long, but for the latency") {
  // 2 GPUs and one NIC to a node, tensor 2 x data n: both GPUs' rings pass every NIC once.
  for (const int n : {2, 3, 8}) {
    INFO(n << " nodes");
    const Plan plan = one_collective(CollectiveKind::AllReduce, 1e8, n, 2);
    const ClusterSpec spec = star_of(n, 2, 1, 5e-6);
    const double latency = 2 * (n - 1) * 5e-6, flow = 2 * (n - 1) * 1e8 / (n * kNic);
    for (const Fidelity fidelity : kFidelities) {
      INFO(name_of(kFidelityNames, fidelity));
      CHECK(time_of(plan, spec, fidelity) == Approx(latency + 2 * flow).epsilon(1e-9));
    }
    for (const Fidelity fidelity : {Fidelity::Stage, Fidelity::Full, Fidelity::Rounds})
      CHECK(time_of(plan, spec, fidelity, NetworkKind::ContentionFree) ==
            Approx(latency + flow).epsilon(1e-9));
  }
}

TEST_CASE("rings: the slowest link sets the pace") {
  // One of 4 NICs at half its rate: 6 (a + S / (4 B / 2)).
  ClusterSpec spec = star_of(4, 1, 1, 5e-6);
  spec.link_overrides = {{.link = "n2.nic0.up", .bandwidth_factor = 0.5}};
  check_everywhere(one_collective(CollectiveKind::AllReduce, 1e8, 4), spec,
                   6 * (5e-6 + 1e8 / (4 * kNic / 2)));
}

TEST_CASE("rings: collectives one after another do not start before all members have come") {
  // Rank 1 of 2 takes 3 ms for the kernel before the collective of 25 MB, rank 0 2 ms: the ring of
  // 2 * 1/2 * 25 MB over a NIC takes 1 ms, from 3 to 4; its span does not count the waiting.
  Plan plan = one_collective(CollectiveKind::AllReduce, 25e6, 2);
  plan.blocks = {{{.piece = {"kernel", Work{.op = OpClass::Fixed, .duration = Seconds(2e-3)}}}}};
  Program& program = plan.programs.front();
  program.ops.insert(program.ops.begin(), Op{.block = 0});
  program.ops[1].after = {0};
  Conditions conditions{.stragglers = {{.rank = 1, .slowdown = 1.5}}};
  for (const Fidelity fidelity : kFidelities) {
    INFO(name_of(kFidelityNames, fidelity));
    conditions.fidelity = fidelity;
    const Trace trace = simulate(plan, build_cluster(star_of(2, 1, 1, 0)), conditions);
    REQUIRE(trace.ranks.size() == 2);
    for (const RankTrace& rank : trace.ranks) {
      REQUIRE(rank.spans.size() == 2);
      CHECK(rank.spans[0].end.value == Approx(rank.rank == 0 ? 2e-3 : 3e-3).epsilon(1e-9));
      CHECK(rank.spans[1].start.value == Approx(3e-3).epsilon(1e-9));
      CHECK(rank.spans[1].end.value == Approx(4e-3).epsilon(1e-9));
    }
  }
}

namespace {

// NCCL's graph on DGX A100, with links so wide that NCCL's own numbers are the only limit.
ClusterSpec nccl_cluster(int nodes) {
  NodeType node = example_node("nvlink_switch", 8, 8);
  node.gpu.arch = "ampere";
  node.interconnect_parameters.set("bandwidth", 1e15);
  node.nic_bandwidth = Rate(1e15);
  node.nccl = NodeType::Nccl{.channels = 12,
                             .channel_intra = Rate(20e9),
                             .channels_inter = 8,
                             .channel_inter = Rate(24e9),
                             .amd_cpu = true};
  ClusterSpec spec = example_cluster("star", nodes, node);
  spec.communication.model = CommunicationModel::Nccl;
  return spec;
}

}  // namespace

TEST_CASE("rings: with NCCL's model a collective alone takes latency + S / bandwidth") {
  // Between nodes NCCL's graph has one speed for both parts of a channel.
  for (const int nodes : {1, 2, 4}) {
    const NcclGraph graph{.channels = nodes == 1 ? 12 : 8,
                          .channel_intra = Rate(nodes == 1 ? 20e9 : 24e9),
                          .channel_inter = Rate(24e9),
                          .amd_cpu = true};
    for (const CollectiveKind kind :
         {CollectiveKind::AllReduce, CollectiveKind::AllGather, CollectiveKind::ReduceScatter})
      for (const double bytes : {1024.0, 65536.0, 1048576.0, 33554432.0, 1073741824.0}) {
        INFO(nodes << " nodes, " << name_of(kCollectiveKindNames, kind) << ", " << bytes << " B");
        const NcclCost cost =
            measured_cost(nccl_choice(graph, kind, 8 * nodes, nodes, Bytes(bytes)), graph, kind,
                          8 * nodes, nodes, Bytes(bytes));
        const double expected = cost.latency.value + bytes / cost.algorithm_bandwidth.value;
        const Plan plan = one_collective(kind, bytes, 8 * nodes);
        const ClusterSpec spec = nccl_cluster(nodes);
        check_at({Fidelity::Folded, Fidelity::Stage, Fidelity::Full}, plan, spec, expected);
        // A tree's rounds also fill its pipeline.
        if (cost.algorithm == NcclAlgorithm::Ring)
          check_at({Fidelity::Rounds}, plan, spec, expected);
        else
          CHECK(time_of(plan, spec, Fidelity::Rounds) > expected * (1 - 1e-9));
      }
  }
}

TEST_CASE("rings: links hold NCCL's model to what they have") {
  // 1 GiB over 2 nodes of 8 GPUs whose NICs have 1 GB/s: eight rings with an eighth each,
  // 2 * 15/16 * S / 8 over every NIC, and the latency of NCCL's choice.
  ClusterSpec spec = nccl_cluster(2);
  spec.node_types.front().nic_bandwidth = Rate(1e9);
  const double bytes = 1073741824.0;
  const NcclCost cost = nccl_choice(
      {.channels = 8, .channel_intra = Rate(24e9), .channel_inter = Rate(24e9), .amd_cpu = true},
      CollectiveKind::AllReduce, 16, 2, Bytes(bytes));
  REQUIRE(cost.algorithm == NcclAlgorithm::Ring);
  REQUIRE(cost.protocol == NcclProtocol::Simple);
  check_everywhere(one_collective(CollectiveKind::AllReduce, bytes, 16), spec,
                   cost.latency.value + 2 * 15.0 / 16 * bytes / 8 / 1e9);
}

TEST_CASE("rings: spans that end together stand in order of op") {
  // 25 MB between two ranks over a NIC of 25 GB/s are 1 ms, beside a kernel of 1 ms.
  Plan plan = one_collective(CollectiveKind::AllReduce, 25e6, 2);
  plan.blocks = {{{.piece = {"kernel", Work{.op = OpClass::Fixed, .duration = Seconds(1e-3)}}}}};
  std::vector<Op>& ops = plan.programs.front().ops;
  for (const std::size_t place : {0, 1}) {
    INFO("kernel is op " << place);
    if (place == 0)
      ops.insert(ops.begin(), Op{.block = 0});
    else
      ops = {ops[1], ops[0]};
    for (const Fidelity fidelity : kFidelities)
      for (const NetworkKind network : {NetworkKind::SimGrid, NetworkKind::ContentionFree}) {
        const Trace trace = simulate(plan, build_cluster(star_of(2, 1, 1, 0)),
                                     {.fidelity = fidelity, .network = network});
        for (const RankTrace& rank : trace.ranks) {
          REQUIRE(rank.spans.size() == 2);
          REQUIRE(rank.spans[0].end.value == Approx(1e-3).epsilon(1e-9));
          if (rank.spans[0].end == rank.spans[1].end) CHECK(rank.spans[0].op == 0);
          CHECK(rank.spans[0].end <= rank.spans[1].end);
        }
      }
  }
}

}  // namespace windtunnel

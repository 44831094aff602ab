// Corrections of NCCL's model by measurements.
#include <cmath>

#include "catch.hpp"
#include "collectives/nccl_measured.hpp"

namespace windtunnel {
namespace {

const NcclGraph kA100{.arch = NcclArch::Ampere,
                      .channels = 12,
                      .channel_intra = Rate(20e9),
                      .channel_inter = Rate(24e9)};

double factor(const NcclGraph& graph, CollectiveKind kind, int ranks, int nodes, double bytes) {
  const Bytes size(bytes);
  const NcclCost model = nccl_choice(graph, kind, ranks, nodes, size);
  return measured_cost(model, graph, kind, ranks, nodes, size).time(size) / model.time(size);
}

double factor(double bytes) {
  return factor(kA100, CollectiveKind::AllGather, 8, 1, bytes);
}

}  // namespace

TEST_CASE("measured collectives: slower than the model inside a node, less so the larger") {
  CHECK(factor(1024) == Approx(2.71));
  CHECK(factor(1e6) == Approx(2.71));
  CHECK(factor(1e9) == Approx(1.04));
  CHECK(factor(1e11) == Approx(1.02));
  // Half-way between 3e7 and 1e8 in the logarithm.
  CHECK(factor(std::sqrt(3e7 * 1e8)) == Approx((1.26 + 1.17) / 2));
  double before = 3;
  for (double bytes = 1e5; bytes < 1e11; bytes *= 1.7) {
    CHECK(factor(bytes) <= before * (1 + 1e-12));  // rounding of a constant factor
    before = factor(bytes);
  }
}

TEST_CASE("measured collectives: pairs are slower than nodes, and groups between as between") {
  const auto at = [](int ranks) { return factor(kA100, CollectiveKind::AllGather, ranks, 1, 3e8); };
  CHECK(at(2) == Approx(1.28));
  CHECK(at(4) == Approx(1.12));
  CHECK(at(3) == Approx(1.28 + (1.12 - 1.28) * std::log(1.5) / std::log(2.0)));
  CHECK(at(8) == Approx(1.13));
  CHECK(at(72) == Approx(1.13));  // the largest that was measured
}

TEST_CASE("measured collectives: all-to-all by the pairs' time, on Ampere as it is") {
  NcclGraph graph = kA100;
  CHECK(measured_over_model(graph, CollectiveKind::AllToAll, 8, 1, Bytes(1e7)) == 1);
  graph.arch = NcclArch::Hopper;
  CHECK(measured_over_model(graph, CollectiveKind::AllToAll, 8, 1, Bytes(1e7)) == Approx(1.30));
  CHECK(measured_over_model(graph, CollectiveKind::AllToAll, 8, 2, Bytes(1e7)) == 1);
}

TEST_CASE("measured collectives: the model as it is between nodes and over PCIe") {
  CHECK(factor(kA100, CollectiveKind::AllGather, 8, 2, 1e6) == 1);
  NcclGraph pci = kA100;
  pci.intra = NcclLink::Pci;
  CHECK(factor(pci, CollectiveKind::AllGather, 8, 1, 1e6) == 1);
}

TEST_CASE("measured collectives: 482 GB/s bus bandwidth of NVLS on 8 x H100") {
  NcclGraph graph{.arch = NcclArch::Hopper,
                  .channels = 12,
                  .channel_intra = Rate(30e9),
                  .channel_inter = Rate(48e9),
                  .nvls = true};
  const Bytes size(1e10);
  const NcclCost cost = measured_cost(nccl_choice(graph, CollectiveKind::AllReduce, 8, 1, size),
                                      graph, CollectiveKind::AllReduce, 8, 1, size);
  CHECK(cost.algorithm == NcclAlgorithm::Nvls);
  CHECK(size.value / cost.time(size).value / 1e9 * bus_factor(CollectiveKind::AllReduce, 8) ==
        Approx(482).epsilon(0.01));
}

}  // namespace windtunnel

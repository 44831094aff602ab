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

double factor(const NcclGraph& graph, int nodes, double bytes) {
  const Bytes size(bytes);
  const NcclCost model = nccl_choice(graph, CollectiveKind::AllGather, 8, nodes, size);
  return measured_cost(model, graph, nodes, size).time(size) / model.time(size);
}

}  // namespace

TEST_CASE("measured collectives: slower than the model inside a node, less so the larger") {
  CHECK(factor(kA100, 1, 1024) == Approx(1.88));
  CHECK(factor(kA100, 1, 1e6) == Approx(1.88));
  CHECK(factor(kA100, 1, 1e9) == Approx(1.05));
  CHECK(factor(kA100, 1, 1e11) == Approx(1.0));
  // Half-way between 3e7 and 1e8 in the logarithm.
  CHECK(factor(kA100, 1, std::sqrt(3e7 * 1e8)) == Approx((1.33 + 1.18) / 2));
  double before = 2;
  for (double bytes = 1e5; bytes < 1e11; bytes *= 1.7) {
    CHECK(factor(kA100, 1, bytes) <= before * (1 + 1e-12));  // rounding of a constant factor
    before = factor(kA100, 1, bytes);
  }
}

TEST_CASE("measured collectives: the model as it is between nodes and over PCIe") {
  CHECK(factor(kA100, 2, 1e6) == 1);
  NcclGraph pci = kA100;
  pci.intra = NcclLink::Pci;
  CHECK(factor(pci, 1, 1e6) == 1);
}

TEST_CASE("measured collectives: 482 GB/s bus bandwidth of NVLS on 8 x H100") {
  NcclGraph graph{.arch = NcclArch::Hopper,
                  .channels = 12,
                  .channel_intra = Rate(30e9),
                  .channel_inter = Rate(48e9),
                  .nvls = true};
  const Bytes size(1e10);
  const NcclCost cost =
      measured_cost(nccl_choice(graph, CollectiveKind::AllReduce, 8, 1, size), graph, 1, size);
  CHECK(cost.algorithm == NcclAlgorithm::Nvls);
  CHECK(size.value / cost.time(size).value / 1e9 * bus_factor(CollectiveKind::AllReduce, 8) ==
        Approx(482).epsilon(0.01));
}

}  // namespace windtunnel

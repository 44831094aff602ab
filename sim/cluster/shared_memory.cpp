// CPU ranks of one node, which exchange data through its memory.
//
// Links: n3.gpu2.up (the rank copies its data into shared memory), n3.gpu2.down (it copies out).
// bandwidth is the rate of one rank's memory copy. Rank to NIC: no link, the NIC reads memory
// itself and is far slower than it. Leaves out: that all ranks together share the memory's
// bandwidth, and NUMA. State a bandwidth that a rank gets while the others copy too.
#include <fmt/format.h>

#include "cluster/families.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"bandwidth", ParameterKind::DataRate},
    {"efficiency", ParameterKind::Ratio},
    {"latency", ParameterKind::Time},
};

std::string limits(const Parameters& parameters, const NodeType&) {
  return efficiency_error(parameters);
}

AppendRoute<int> build(const Parameters& parameters, const NodeType& node,
                       const std::string& prefix, std::vector<Link>& links) {
  const int first = int(links.size()), ranks = node.gpus;
  const Rate rate = parameters.number("efficiency") * Rate(parameters.number("bandwidth"));
  for (int rank = 0; rank < ranks; ++rank)
    for (const char* direction : {"up", "down"})
      links.push_back({fmt::format("{}gpu{}.{}", prefix, rank, direction), rate, LinkClass::Pcie});
  const Seconds latency(parameters.number("latency"));
  return [first, ranks, latency](int from, int to, Route& route) {
    if (from >= ranks || to >= ranks) return;
    route.links.push_back(first + 2 * from);
    route.links.push_back(first + 2 * to + 1);
    route.latency += latency;
  };
}

}  // namespace

NodeInterconnect shared_memory() {
  return {"shared_memory", kParameters, limits, build,
          "Two memory copies through a shared segment, as Gloo, MPI and NCCL's SHM transport do"};
}

}  // namespace windtunnel

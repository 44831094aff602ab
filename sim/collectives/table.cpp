#include <array>

#include "collectives/families.hpp"

namespace windtunnel {

std::span<const CollectiveAlgorithm> collective_table() {
  static const std::array table = {kRing, kTree,     kHalvingDoubling, kHierarchical,
                                   kNvls, kPairwise, kTwoLevel,        kGloo};
  return table;
}

const CollectiveAlgorithm* find_collective(std::string_view name) {
  for (const CollectiveAlgorithm& algorithm : collective_table())
    if (algorithm.name == name) return &algorithm;
  return nullptr;
}

// Source: NVIDIA/nccl-tests, doc/PERFORMANCE.md.
double bus_factor(CollectiveKind kind, int members) {
  const double n = members;
  switch (kind) {
    case CollectiveKind::AllReduce:
      return 2 * (n - 1) / n;
    case CollectiveKind::AllGather:
    case CollectiveKind::ReduceScatter:
    case CollectiveKind::AllToAll:
      return (n - 1) / n;
    case CollectiveKind::Broadcast:
      return 1;
  }
  return 1;
}

}  // namespace windtunnel

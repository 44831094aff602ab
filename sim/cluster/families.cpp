#include "cluster/families.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace windtunnel {

NicPorts::NicPorts(std::span<const NodeType* const> nodes, int built, double efficiency,
                   std::vector<Link>& links) {
  first_.reserve(std::size_t(built));
  for (int node = 0; node < built; ++node) {
    const NodeType& type = *nodes[std::size_t(node)];
    first_.push_back(int(links.size()));
    for (int nic = 0; nic < type.nics; ++nic)
      for (const char* direction : {"up", "down"})
        links.push_back({fmt::format("n{}.nic{}.{}", node, nic, direction),
                         type.nic_bandwidth * efficiency, LinkClass::Nic});
  }
}

std::string efficiency_error(const Parameters& parameters) {
  const double efficiency = parameters.number("efficiency");
  if (efficiency <= 1) return {};
  return fmt::format("An efficiency of {} would make links faster than their datasheet says.",
                     efficiency);
}

std::string nic_error(std::span<const NodeType* const> nodes) {
  constexpr long long most = 5'000'000;  // a slip of the pen must not fill the memory
  long long nics = 0;
  for (const NodeType* node : nodes) {
    if (node->nics == 0)
      return fmt::format("Node type '{}' has no NIC, so no fabric can reach its GPUs.", node->name);
    nics += node->nics;
  }
  if (nics <= most) return {};
  return fmt::format("The nodes have {} NICs; at most {} are built.", nics, most);
}

Rate fastest_nic(std::span<const NodeType* const> nodes) {
  Rate fastest;
  for (const NodeType* node : nodes) fastest = std::max(fastest, node->nic_bandwidth);
  return fastest;
}

int most_nics(std::span<const NodeType* const> nodes) {
  int most = 0;
  for (const NodeType* node : nodes) most = std::max(most, node->nics);
  return most;
}

}  // namespace windtunnel

#include <algorithm>

#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {

std::vector<NodeMembers> node_members(const Group& group) {
  std::vector<NodeMembers> nodes;
  for (int member = 0; member < group.size(); ++member) {
    const bool same_node =
        member > 0 && group.node_of_member[member] == group.node_of_member[member - 1];
    if (same_node)
      ++nodes.back().count;
    else
      nodes.push_back({.first = member, .count = 1});
  }
  return nodes;
}

int Group::nodes() const {
  return int(node_members(*this).size());
}

int Group::ranks_per_node() const {
  int most = 0;
  for (const NodeMembers& node : node_members(*this)) most = std::max(most, node.count);
  return most;
}

int channel_count(const Group& group) {
  SIM_CHECK(group.rails >= 1, "a group has a rail");
  return group.nodes() > 1 ? std::min(group.rails, group.ranks_per_node()) : 1;
}

int gateway(const NodeMembers& node, int channel, int channels, int turn) {
  return node.first + (channel * node.count / channels + turn) % node.count;
}

}  // namespace windtunnel

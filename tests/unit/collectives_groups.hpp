// Groups of members over nodes, for the tests of collectives.
#pragma once

#include <initializer_list>
#include <vector>

#include "collectives/collective.hpp"

namespace windtunnel {

inline Group group_of(const std::vector<int>& members_of_node, int rails = 1) {
  Group group{.node_of_member = {}, .rails = rails};
  for (int node = 0; node < int(members_of_node.size()); ++node)
    group.node_of_member.insert(group.node_of_member.end(), members_of_node[node], node);
  return group;
}
inline Group one_node(int members) {
  return group_of({members});
}
inline Group equal_nodes(int nodes, int members, int rails = 1) {
  return group_of(std::vector<int>(nodes, members), rails);
}

// Every size up to 17 in one node and with a node for each member, and shapes between.
inline std::vector<Group> small_groups() {
  std::vector<Group> groups;
  for (int n = 1; n <= 17; ++n) {
    groups.push_back(one_node(n));
    groups.push_back(equal_nodes(n, 1));
  }
  for (const int rails : {1, 2, 3, 4, 8})
    for (const std::vector<int>& shape : std::initializer_list<std::vector<int>>{{2, 2},
                                                                                 {2, 2, 2},
                                                                                 {3, 3, 3},
                                                                                 {4, 4},
                                                                                 {4, 4, 4},
                                                                                 {4, 4, 4, 4},
                                                                                 {8, 8},
                                                                                 {5, 5, 5},
                                                                                 {1, 5, 2},
                                                                                 {3, 2, 4},
                                                                                 {2, 2, 2, 2, 2},
                                                                                 {1, 2, 1},
                                                                                 {7, 1}})
      groups.push_back(group_of(shape, rails));
  return groups;
}

inline constexpr CollectiveKind kAllKinds[] = {CollectiveKind::AllReduce, CollectiveKind::AllGather,
                                               CollectiveKind::ReduceScatter,
                                               CollectiveKind::AllToAll, CollectiveKind::Broadcast};

}  // namespace windtunnel

// Rings inside the nodes and rings between equal local ranks. k nodes of g members, S bytes,
// latency a, bandwidth B inside and b between nodes, per member and direction.
// Steps: 2(g-1) + 2(k-1) all-reduce, half of that all-gather and reduce-scatter.
// Bytes sent per member, all-reduce: 2 S (g-1)/g inside, 2 (S/g) (k-1)/k between; else half.
// Time alone, all-reduce: 2(g-1)(a + S/(gB)) + 2(k-1)(a + S/(gkb)).
// Source: Mikami et al. 2018, arXiv 1811.05233 (2D-torus all-reduce); Cho et al. 2019, BlueConnect,
// MLSys.
// Leaves out: overlap of the phases by chunks; nodes of different sizes.
#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

bool supports(CollectiveKind kind, const Group& group) {
  const auto nodes = node_members(group);
  const bool equal = std::all_of(nodes.begin(), nodes.end(), [&](const NodeMembers& node) {
    return node.count == nodes.front().count;
  });
  return (kind == CollectiveKind::AllReduce || kind == CollectiveKind::AllGather ||
          kind == CollectiveKind::ReduceScatter) &&
         equal && nodes.size() > 1 && nodes.front().count > 1;
}

// Member g * node + local is beside its neighbour in the node, or beside its like in the next node.
std::vector<Edge> edges_in_nodes(int n, int g) {
  std::vector<Edge> edges;
  edges.reserve(std::size_t(n));
  for (int member = 0; member < n; ++member)
    edges.push_back({member, member - member % g + (member + 1) % g});
  return edges;
}
std::vector<Edge> edges_between_nodes(int n, int g) {
  std::vector<Edge> edges;
  edges.reserve(std::size_t(n));
  for (int member = 0; member < n; ++member) edges.push_back({member, (member + g) % n});
  return edges;
}

std::vector<Phase> phases(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "hierarchical does not fit this collective or group");
  const int n = group.size(), g = group.ranks_per_node(), k = n / g;
  const int passes = kind == CollectiveKind::AllReduce ? 2 : 1;
  const Phase inside{
      .edges = edges_in_nodes(n, g), .bytes_per_edge = size * (g - 1) / g, .rounds = g - 1};
  const Phase between{.edges = edges_between_nodes(n, g),
                      .bytes_per_edge = size * passes * (k - 1) / n,
                      .rounds = passes * (k - 1)};
  if (kind == CollectiveKind::ReduceScatter) return {inside, between};
  if (kind == CollectiveKind::AllGather) return {between, inside};
  return {inside, between, inside};
}

// Inside a node, a member owns the blocks of all members with its local rank.
std::vector<Circle> circles_in_nodes(int n, int g, Bytes block) {
  std::vector<Circle> circles;
  for (int first = 0; first < n; first += g) {
    Circle circle{.members = {}, .blocks = {}, .bytes_per_block = block};
    for (int local = 0; local < g; ++local) {
      circle.members.push_back(first + local);
      circle.blocks.emplace_back();
      for (int like = local; like < n; like += g) circle.blocks.back().push_back(like);
    }
    circles.push_back(std::move(circle));
  }
  return circles;
}

std::vector<Circle> circles_between_nodes(int n, int g, Bytes block) {
  std::vector<Circle> circles;
  for (int local = 0; local < g; ++local) {
    Circle circle{.members = {}, .blocks = {}, .bytes_per_block = block};
    for (int member = local; member < n; member += g) {
      circle.members.push_back(member);
      circle.blocks.push_back({member});
    }
    circles.push_back(std::move(circle));
  }
  return circles;
}

std::vector<Round> rounds(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "hierarchical does not fit this collective or group");
  const int n = group.size(), g = group.ranks_per_node();
  const auto inside = circles_in_nodes(n, g, size / n);
  const auto between = circles_between_nodes(n, g, size / n);
  std::vector<Round> result;
  const auto add = [&](Pass pass, const std::vector<Circle>& circles) {
    const std::size_t first = result.size();
    for (const Circle& circle : circles) add_pass(pass, circle, first, result);
  };
  if (kind != CollectiveKind::AllGather) {
    add(Pass::ReduceScatter, inside);
    add(Pass::ReduceScatter, between);
  }
  if (kind != CollectiveKind::ReduceScatter) {
    add(Pass::AllGather, between);
    add(Pass::AllGather, inside);
  }
  return result;
}

}  // namespace

constinit const CollectiveAlgorithm kHierarchical = {
    .name = "hierarchical",
    .supports = supports,
    .phases = phases,
    .rounds = rounds,
    .source = "Mikami et al. 2018, arXiv 1811.05233; Cho et al. 2019, BlueConnect, MLSys"};

}  // namespace windtunnel

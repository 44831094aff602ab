// Two-level exchange. N nodes of L members each, S bytes per member of which S/n for each of n = N
// L members, latency a, bandwidths B between nodes and C inside. First every member sends what is
// for another node to the member of that node with its own place, then members of a node exchange
// what came and what was theirs. Steps: N-1 and L-1. Bytes sent per member: S (N-1)/N between nodes
// and S (L-1)/L inside. Time alone: (N-1)(a + S/(N B)) + (L-1)(a + S/(L C)). Source: Zhao et al.
// 2025, DeepEP (deepseek-ai/DeepEP, README: RDMA to the same place of another node, NVLink from
// there); Hwang et al. 2023, Tutel, MLSys (2DH all-to-all). Leaves out: that the levels overlap in
// DeepEP.
#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

// Members of each node by their places, where every node has as many; else nothing.
std::vector<NodeMembers> even_nodes(const Group& group) {
  std::vector<NodeMembers> nodes = node_members(group);
  for (const NodeMembers& node : nodes)
    if (node.count != nodes.front().count) return {};
  return nodes;
}

bool supports(CollectiveKind kind, const Group& group) {
  return kind == CollectiveKind::AllToAll && !even_nodes(group).empty();
}

std::vector<Phase> phases(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "two-level does not know this collective");
  const std::vector<NodeMembers> nodes = even_nodes(group);
  const int count = int(nodes.size()), places = nodes.front().count;
  Phase between{.edges = {}, .bytes_per_edge = size / count, .rounds = count - 1};
  Phase inside{.edges = {}, .bytes_per_edge = size / places, .rounds = places - 1};
  for (int node = 0; node < count; ++node)
    for (int place = 0; place < places; ++place) {
      const int from = nodes[std::size_t(node)].first + place;
      for (int other = 0; other < count; ++other)
        if (other != node) between.edges.push_back({from, nodes[std::size_t(other)].first + place});
      for (int other = 0; other < places; ++other)
        if (other != place) inside.edges.push_back({from, nodes[std::size_t(node)].first + other});
    }
  std::vector<Phase> result;
  if (count > 1) result.push_back(std::move(between));
  if (places > 1) result.push_back(std::move(inside));
  return result;
}

std::vector<Round> rounds(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "two-level does not know this collective");
  const std::vector<NodeMembers> nodes = even_nodes(group);
  const int n = group.size(), count = int(nodes.size()), places = nodes.front().count;
  const auto member = [&](int node, int place) { return nodes[std::size_t(node)].first + place; };
  std::vector<Round> result;
  for (int step = 1; step < count; ++step) {
    Round& round = result.emplace_back();
    for (int node = 0; node < count; ++node)
      for (int place = 0; place < places; ++place) {
        const int from = member(node, place), other = (node + step) % count;
        round.push_back({.from = from,
                         .to = member(other, place),
                         .first_block = from * n + member(other, 0),
                         .blocks = places,
                         .bytes = size / count});
      }
  }
  for (int step = 1; step < places; ++step) {
    Round& round = result.emplace_back();
    for (int node = 0; node < count; ++node)
      for (int place = 0; place < places; ++place) {
        const int to = member(node, (place + step) % places);
        for (int source = 0; source < count; ++source)
          round.push_back({.from = member(node, place),
                           .to = to,
                           .first_block = member(source, place) * n + to,
                           .bytes = size / n});
      }
  }
  return result;
}

}  // namespace

constinit const CollectiveAlgorithm kTwoLevel = {
    .name = "two-level",
    .supports = supports,
    .phases = phases,
    .rounds = rounds,
    .source = "Hwang et al. 2023, Tutel, MLSys; deepseek-ai/DeepEP"};

}  // namespace windtunnel

// NCCL's double binary tree: parents as in src/graph/trees.cc of NVIDIA/nccl 2.30.7.
#include <algorithm>
#include <bit>
#include <vector>

#include "catch.hpp"
#include "collectives/families.hpp"
#include "collectives_groups.hpp"

using namespace windtunnel;

namespace {

int depth(const Parents& parents) {
  int deepest = 0;
  for (int rank = 0; rank < int(parents.size()); ++rank) {
    int steps = 0;
    for (int r = rank; parents[r] >= 0; r = parents[r]) ++steps;
    deepest = std::max(deepest, steps);
  }
  return deepest;
}

int root(const Parents& parents) {
  return int(std::find(parents.begin(), parents.end(), -1) - parents.begin());
}

int ceil_log2(int n) {
  return std::bit_width(unsigned(n - 1));
}

}  // namespace

TEST_CASE("double tree: known parents and roots") {
  REQUIRE(double_tree_parents(8)[0] == Parents{-1, 2, 4, 2, 0, 6, 4, 6});
  REQUIRE(double_tree_parents(8)[1] == Parents{1, 3, 1, 7, 5, 3, 5, -1});
  REQUIRE(double_tree_parents(14)[0] == Parents{-1, 2, 4, 2, 8, 6, 4, 6, 0, 10, 12, 10, 8, 12});
  REQUIRE(root(double_tree_parents(12)[1]) == 11);
  REQUIRE(root(double_tree_parents(13)[1]) == 1);
  REQUIRE(double_tree_parents(1)[0] == Parents{-1});
}

TEST_CASE("double tree: one root, no rank inner in both, shallow") {
  for (int n = 2; n <= 64; ++n) {
    const auto trees = double_tree_parents(n);
    std::vector<int> inner(n, 0);
    for (const Parents& parents : trees) {
      REQUIRE(std::count(parents.begin(), parents.end(), -1) == 1);
      REQUIRE(depth(parents) <= ceil_log2(n));
      for (int rank = 0; rank < n; ++rank)
        inner[rank] += std::find(parents.begin(), parents.end(), rank) != parents.end();
    }
    if (n % 2 == 1) continue;
    for (int rank = 0; rank < n; ++rank)
      REQUIRE((inner[rank] < 2 || trees[0][rank] < 0 || trees[1][rank] < 0));
  }
}

TEST_CASE("tree: steps are the depth over nodes plus the chain in them, up and down") {
  const auto steps = [](CollectiveKind kind, const Group& group) {
    return kTree.phases(kind, group, Bytes(1)).at(0).rounds;
  };
  REQUIRE(steps(CollectiveKind::AllReduce, equal_nodes(8, 1)) == 2 * 3);
  REQUIRE(steps(CollectiveKind::AllReduce, equal_nodes(2, 8)) == 2 * (1 + 7));
  REQUIRE(steps(CollectiveKind::AllReduce, one_node(8)) == 2 * 7);
  // The longest way out from 0 in tree 1 of 8: 0, 1, 3, 5, 4.
  REQUIRE(steps(CollectiveKind::Broadcast, equal_nodes(8, 1)) == 4);
}

TEST_CASE("tree: no port sends or receives more than 2 S") {
  for (int nodes = 4; nodes <= 64; ++nodes) {
    const auto phase = kTree.phases(CollectiveKind::AllReduce, equal_nodes(nodes, 1), Bytes(1))[0];
    std::vector<double> out(nodes, 0), in(nodes, 0);
    for (const Edge& edge : phase.edges) {
      out[edge.from] += phase.bytes_per_edge.value;
      in[edge.to] += phase.bytes_per_edge.value;
    }
    REQUIRE(*std::max_element(out.begin(), out.end()) == 2);
    REQUIRE(*std::max_element(in.begin(), in.end()) == 2);
  }
}

TEST_CASE("tree: the gateways of channels are spread over the rails") {
  const auto phases = kTree.phases(CollectiveKind::AllReduce, equal_nodes(4, 4, 4), Bytes(1));
  for (int local = 0; local < 4; ++local) {
    int edges = 0;
    for (const Edge& edge : phases.at(0).edges)
      if (edge.from / 4 != edge.to / 4) {
        REQUIRE(edge.from % 4 == edge.to % 4);
        edges += edge.from % 4 == local;
      }
    REQUIRE(edges == 2 * 2 * 3);  // two trees, up and down, 4 - 1 edges
  }
}

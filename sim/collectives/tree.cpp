// Double binary tree over nodes, a chain of members inside each. n members on k nodes of g, S
// bytes, c channels, d = depth of the deeper tree (at most ceil(log2 k) + g - 1), latency a,
// bandwidth B per member and direction.
// Steps: 2d all-reduce (up, then down); a broadcast goes from member 0 outwards, d of that tree.
// Bytes sent by all members: 2 S (n-1) all-reduce, S (n-1) broadcast. Time alone of an all-reduce
// with g = 1 and k > 3, where the busiest port sends 2 S and receives 2 S: 2 d a + 2 S / B.
// Source: Sanders, Speck & Traeff 2009, Parallel Computing 35(12); over nodes with chains inside,
// and the trees themselves, as NVIDIA/nccl 2.30.7, src/graph/trees.cc and src/graph/connect.cc.
// Leaves out: the time to fill the pipeline in `phases` (`rounds` has it, with n blocks per tree);
// NCCL's split of a node's two children over two GPUs (balanced tree).
#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

bool supports(CollectiveKind kind, const Group&) {
  return kind == CollectiveKind::AllReduce || kind == CollectiveKind::Broadcast;
}

Parents member_parents(const std::vector<NodeMembers>& nodes, const Parents& node_parents,
                       int channel, int channels) {
  Parents parents;
  for (int i = 0; i < int(nodes.size()); ++i) {
    const NodeMembers& node = nodes[i];
    const int head = gateway(node, channel, channels);
    const int above = node_parents[i];
    const int head_parent = above < 0 ? -1 : gateway(nodes[above], channel, channels);
    for (int member = node.first; member < node.first + node.count; ++member)
      parents.push_back(member == head
                            ? head_parent
                            : node.first + (member - node.first + node.count - 1) % node.count);
  }
  return parents;
}

// Turns the way from `root` to the old root round; the tree keeps its edges.
void move_root(int root, Parents& parents) {
  int below = -1;
  for (int member = root; member >= 0;) {
    below = std::exchange(parents[member], below);
    std::swap(below, member);
  }
}

// Two for each channel.
std::vector<Parents> member_trees(CollectiveKind kind, const Group& group) {
  const auto nodes = node_members(group);
  const auto node_trees = double_tree_parents(int(nodes.size()));
  const int channels = channel_count(group);
  std::vector<Parents> trees;
  for (int channel = 0; channel < channels; ++channel)
    for (const Parents& node_parents : node_trees) {
      trees.push_back(member_parents(nodes, node_parents, channel, channels));
      if (kind == CollectiveKind::Broadcast) move_root(0, trees.back());
    }
  return trees;
}

std::vector<int> depths(const Parents& parents) {
  std::vector<int> depth(parents.size(), -1);
  std::vector<int> way;
  for (int start = 0; start < int(parents.size()); ++start) {
    int member = start;
    for (; member >= 0 && depth[member] < 0; member = parents[member]) way.push_back(member);
    int known = member < 0 ? -1 : depth[member];
    for (; !way.empty(); way.pop_back()) depth[way.back()] = ++known;
  }
  return depth;
}

std::vector<int> heights(const Parents& parents, const std::vector<int>& depth) {
  std::vector<int> deepest_first(parents.size());
  std::iota(deepest_first.begin(), deepest_first.end(), 0);
  std::stable_sort(deepest_first.begin(), deepest_first.end(),
                   [&](int a, int b) { return depth[a] > depth[b]; });
  std::vector<int> height(parents.size(), 0);
  for (const int member : deepest_first)
    if (const int parent = parents[member]; parent >= 0)
      height[parent] = std::max(height[parent], height[member] + 1);
  return height;
}

int depth_of(const Parents& parents) {
  const auto depth = depths(parents);
  return *std::max_element(depth.begin(), depth.end());
}

std::vector<Phase> phases(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "tree does not know this collective");
  if (group.size() == 1) return {};
  const auto trees = member_trees(kind, group);
  const bool up = kind == CollectiveKind::AllReduce;
  Phase phase{.edges = {}, .bytes_per_edge = size / double(trees.size()), .rounds = 0};
  for (const Parents& parents : trees) {
    phase.rounds = std::max(phase.rounds, depth_of(parents) * (up ? 2 : 1));
    for (int member = 0; member < group.size(); ++member) {
      if (parents[member] < 0) continue;
      if (up) phase.edges.push_back({member, parents[member]});
      phase.edges.push_back({parents[member], member});
    }
  }
  return {phase};
}

// The blocks follow each other through the tree, one a round on every edge: `start` is the round of
// the first.
void add_stream(Send send, int blocks, int start, std::vector<Round>& rounds) {
  rounds.resize(std::max(rounds.size(), std::size_t(start) + std::size_t(blocks)));
  for (send.first_block = 0; send.first_block < blocks; ++send.first_block)
    rounds[std::size_t(start) + std::size_t(send.first_block)].push_back(send);
}

std::vector<Round> rounds(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "tree does not know this collective");
  const int n = group.size();
  if (n == 1) return {};
  const auto trees = member_trees(kind, group);
  const bool up = kind == CollectiveKind::AllReduce;
  std::vector<Round> result;
  for (int tree = 0; tree < int(trees.size()); ++tree) {
    const Parents& parents = trees[tree];
    const auto depth = depths(parents);
    const auto height = heights(parents, depth);
    const int turn = up ? *std::max_element(height.begin(), height.end()) : 0;
    const Bytes bytes = size / (double(trees.size()) * n);
    for (int member = 0; member < n; ++member) {
      const int parent = parents[member];
      if (parent < 0) continue;
      Send send{.from = parent, .to = member, .bytes = bytes, .channel = tree};
      add_stream(send, n, turn + depth[parent], result);
      if (!up) continue;
      std::swap(send.from, send.to);
      send.reduce = true;
      add_stream(send, n, height[member], result);
    }
  }
  return result;
}

}  // namespace

constinit const CollectiveAlgorithm kTree = {
    .name = "tree",
    .supports = supports,
    .phases = phases,
    .rounds = rounds,
    .source = "Sanders, Speck & Traeff 2009, Parallel Computing 35(12); NVIDIA/nccl trees.cc"};

}  // namespace windtunnel

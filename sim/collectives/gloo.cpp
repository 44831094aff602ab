// What Gloo runs for each collective, over the ranks in their order. n members, S bytes, latency a,
// bandwidth B per member and direction.
// All-reduce: ring, reduce-scatter then all-gather, each rank sending to the one before it.
//   Steps: 2(n-1). Bytes sent per member: 2 S (n-1)/n. Time alone: 2(n-1)(a + S/(nB)).
// All-gather: ring, each rank sending to the one after it; half of that.
// Reduce-scatter: Gloo has none that is usable; a ring over its send and receive, each rank sending
//   to the one after it and ending with the block of its own number. As the all-gather.
// Broadcast: binomial tree. A member sends to all its children at once when it has the whole
//   buffer. Steps: depth of the tree, the most ones in the binary form of a member's number. The
//   root sends S ceil(log2 n). Time alone of n = 2, 3, 4, 8 without latency: 1, 2, 3, 6 S/B.
// All-to-all: ours, over send and receive: pairwise, each member to the next, then to the one after
//   it. Gloo's own sends to all at once, and flows into one port do not share it evenly over TCP.
//   Steps: n-1. Bytes sent per member: S (n-1)/n. Time alone: (n-1)(a + S/(nB)).
// Source: facebookincubator/gloo, gloo/allreduce.cc (ring), allgather.cc, broadcast.cc.
// Leaves out: segments, into which the rings cut their messages (gloo_model.hpp has what they
// save), copies to and from flat buffers.
#include <algorithm>
#include <bit>
#include <numeric>

#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

bool supports(CollectiveKind, const Group&) {
  return true;
}

bool is_ring(CollectiveKind kind) {
  return kind != CollectiveKind::AllToAll && kind != CollectiveKind::Broadcast;
}

std::vector<int> ring_order(CollectiveKind kind, int n) {
  std::vector<int> order(std::size_t(n), 0);
  std::iota(order.begin(), order.end(), 0);
  if (kind == CollectiveKind::AllReduce) std::reverse(order.begin(), order.end());
  return order;
}

// The parent of a member is its number without the highest bit.
int parent_of(int member) {
  return member - int(std::bit_floor(unsigned(member)));
}

// By depth of the receiver: the sends of the binomial tree with root 0.
std::vector<std::vector<Edge>> tree_levels(int n) {
  std::vector<std::vector<Edge>> levels;
  for (int member = 1; member < n; ++member) {
    const auto depth = std::size_t(std::popcount(unsigned(member)));
    if (levels.size() < depth) levels.resize(depth);
    levels[depth - 1].push_back({parent_of(member), member});
  }
  return levels;
}

std::vector<Phase> phases(CollectiveKind kind, const Group& group, Bytes size) {
  const int n = group.size();
  if (n == 1) return {};
  if (kind == CollectiveKind::AllToAll) return kPairwise.phases(kind, group, size);
  std::vector<Phase> result;
  if (kind == CollectiveKind::Broadcast) {
    for (std::vector<Edge>& level : tree_levels(n))
      result.push_back({.edges = std::move(level), .bytes_per_edge = size, .rounds = 1});
    return result;
  }
  const int passes = kind == CollectiveKind::AllReduce ? 2 : 1;
  Phase phase{
      .edges = {}, .bytes_per_edge = size * passes * (n - 1) / n, .rounds = passes * (n - 1)};
  const std::vector<int> order = ring_order(kind, n);
  for (std::size_t i = 0; i < order.size(); ++i)
    phase.edges.push_back({order[i], order[(i + 1) % order.size()]});
  return {phase};
}

std::vector<Round> ring_rounds(CollectiveKind kind, int n, Bytes size) {
  Circle circle{.members = ring_order(kind, n), .blocks = {}, .bytes_per_block = size / n};
  for (const int member : circle.members) circle.blocks.push_back({member});
  std::vector<Round> result;
  if (kind != CollectiveKind::AllGather) add_pass(Pass::ReduceScatter, circle, 0, result);
  if (kind != CollectiveKind::ReduceScatter)
    add_pass(Pass::AllGather, circle, result.size(), result);
  return result;
}

std::vector<Round> rounds(CollectiveKind kind, const Group& group, Bytes size) {
  const int n = group.size();
  if (n == 1) return {};
  if (kind == CollectiveKind::AllToAll) return kPairwise.rounds(kind, group, size);
  if (is_ring(kind)) return ring_rounds(kind, n, size);
  std::vector<Round> result;
  for (const Phase& phase : phases(kind, group, size)) {
    Round& round = result.emplace_back();
    for (const auto& [from, to] : phase.edges)
      round.push_back(
          {.from = from, .to = to, .first_block = 0, .blocks = n, .bytes = phase.bytes_per_edge});
  }
  return result;
}

}  // namespace

constinit const CollectiveAlgorithm kGloo = {
    .name = "gloo",
    .supports = supports,
    .phases = phases,
    .rounds = rounds,
    .source = "facebookincubator/gloo, allreduce.cc, allgather.cc, broadcast.cc"};

}  // namespace windtunnel

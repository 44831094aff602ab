// Ring. n members, S bytes, c channels, latency a, bandwidth B per member and direction.
// Steps: 2(n-1) all-reduce, n-1 all-gather and reduce-scatter, n-1 hops of a broadcast.
// Bytes sent per member: 2 S (n-1)/n, S (n-1)/n, S (all but one member). Time alone: steps * a +
// bytes / B, which is 2(n-1)(a + S/(nB)) for an all-reduce.
// Source: Patarasuk & Yuan 2009, J. Parallel Distrib. Comput. 69(2); channels over rails as NCCL's
// rings over nodes (NVIDIA/nccl, src/graph/rings.cc).
// Leaves out: the time to fill a broadcast's pipeline in `phases` (`rounds` has it, with n blocks);
// NCCL's search for the order of members and its hop to another GPU's NIC (PXN).
#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

// How far past the channel's first gateway the ring leaves a node. Every node is left by the local
// index by which the next one is entered, so neighbouring nodes need different indices: 0 and 1 in
// turn, and 2 once if the number of nodes is odd.
int turn_after(int node, int nodes) {
  return nodes % 2 == 1 && node == nodes - 1 ? 2 : node % 2;
}

// Appends the members of a node, each once, from the entry to the exit.
void append_walk(const NodeMembers& node, int entry, int exit, std::vector<int>& order) {
  // Two members and an odd number of nodes: no index is left, the walk ends beside its start.
  if (entry == exit) exit = node.first + (entry - node.first + node.count - 1) % node.count;
  order.push_back(entry);
  for (int step = 1; step < node.count; ++step) {
    const int member = node.first + (entry - node.first + step) % node.count;
    if (member != exit) order.push_back(member);
  }
  if (exit != entry) order.push_back(exit);
}

// The order of all members on the ring of a channel, starting at the entry of the first node.
std::vector<int> ring_order(const std::vector<NodeMembers>& nodes, int channel, int channels) {
  const int count = int(nodes.size());
  std::vector<int> order;
  for (int i = 0; i < count; ++i) {
    const int before = turn_after((i + count - 1) % count, count);
    append_walk(nodes[i], gateway(nodes[i], channel, channels, count > 1 ? before : 0),
                gateway(nodes[i], channel, channels, count > 1 ? turn_after(i, count) : 0), order);
  }
  return order;
}

std::vector<std::vector<int>> ring_orders(CollectiveKind kind, const Group& group) {
  const auto nodes = node_members(group);
  const int channels = channel_count(group);
  std::vector<std::vector<int>> orders;
  for (int channel = 0; channel < channels; ++channel) {
    auto order = ring_order(nodes, channel, channels);
    if (kind == CollectiveKind::Broadcast)
      std::rotate(order.begin(), std::find(order.begin(), order.end(), 0), order.end());
    orders.push_back(std::move(order));
  }
  return orders;
}

bool supports(CollectiveKind kind, const Group&) {
  return kind != CollectiveKind::AllToAll;
}

std::vector<Phase> phases(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "ring does not know this collective");
  const int n = group.size();
  if (n == 1) return {};
  const auto orders = ring_orders(kind, group);
  const bool broadcast = kind == CollectiveKind::Broadcast;
  const int passes = kind == CollectiveKind::AllReduce ? 2 : 1;
  const Bytes share = size / double(orders.size());
  Phase phase{.edges = {},
              .bytes_per_edge = broadcast ? share : share * passes * (n - 1) / n,
              .rounds = passes * (n - 1)};
  phase.edges.reserve(orders.size() * std::size_t(n));
  for (const auto& order : orders) {
    for (int position = 0; position + 1 < n; ++position)
      phase.edges.push_back({order[position], order[position + 1]});
    if (!broadcast) phase.edges.push_back({order.back(), order.front()});
  }
  return {phase};
}

// Each member passes the blocks on in order, one a round: n-1 hops for the first, then n-1 more.
void add_pipeline(const Circle& chain, std::vector<Round>& rounds) {
  const int n = int(chain.members.size());
  rounds.resize(2 * std::size_t(n - 1));
  for (int position = 0; position + 1 < n; ++position)
    for (int block = 0; block < n; ++block)
      rounds[std::size_t(position) + std::size_t(block)].push_back(
          {.from = chain.members[position],
           .to = chain.members[position + 1],
           .first_block = block,
           .bytes = chain.bytes_per_block,
           .channel = chain.channel});
}

std::vector<Round> rounds(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "ring does not know this collective");
  const int n = group.size();
  if (n == 1) return {};
  const auto orders = ring_orders(kind, group);
  std::vector<Round> result;
  for (int channel = 0; channel < int(orders.size()); ++channel) {
    Circle circle{.members = orders[channel],
                  .blocks = {},
                  .bytes_per_block = size / (double(orders.size()) * n),
                  .channel = channel};
    for (const int member : circle.members) circle.blocks.push_back({member});
    std::size_t first = 0;
    if (kind == CollectiveKind::AllReduce || kind == CollectiveKind::ReduceScatter) {
      add_pass(Pass::ReduceScatter, circle, first, result);
      first += std::size_t(n - 1);
    }
    if (kind == CollectiveKind::AllReduce || kind == CollectiveKind::AllGather)
      add_pass(Pass::AllGather, circle, first, result);
    if (kind == CollectiveKind::Broadcast) add_pipeline(circle, result);
  }
  return result;
}

}  // namespace

constinit const CollectiveAlgorithm kRing = {
    .name = "ring",
    .supports = supports,
    .phases = phases,
    .rounds = rounds,
    .source = "Patarasuk & Yuan 2009, J. Parallel Distrib. Comput. 69(2)"};

}  // namespace windtunnel

// Collective algorithms as data: who sends how much to whom, and what that costs. No time passes
// here and no topology is known: the engine puts the edges on links.
//
// n = members of the group, S = bytes of the collective: the buffer of an all-reduce or broadcast,
// the *full* (n x chunk) buffer of all-gather, reduce-scatter and all-to-all, as nccl-tests counts.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "base/work.hpp"

namespace windtunnel {

// What an algorithm sees of a group: the node of each member, in group order. Members of one node
// are neighbours in that order. `rails` = NICs of a node that members of the group may use, at
// least 1.
struct Group {
  std::vector<int> node_of_member;
  int rails = 1;
  int size() const { return int(node_of_member.size()); }
  int nodes() const;
  int ranks_per_node() const;  // the largest
};

struct Edge {
  int from = 0, to = 0;  // members
  bool operator==(const Edge&) const = default;
};

// A part of a collective in which every edge carries the same bytes at the same pace; the next
// phase starts when this one has ended. An edge listed k times carries k times as much.
struct Phase {
  std::vector<Edge> edges;
  Bytes bytes_per_edge;  // over the whole phase
  int rounds = 1;        // messages one after another: latencies that the phase pays
};

// A transfer of blocks of data in one round, for the `rounds` fidelity and for the proof by data.
// `block` numbers the n x n (all-to-all) or n (others) blocks of the buffer; `reduce` adds at the
// receiver, otherwise the block replaces what the receiver has. Member 0 is the root of a
// broadcast; before an all-gather and after a reduce-scatter, member m has block m.
struct Send {
  int from = 0, to = 0;
  int first_block = 0, blocks = 1;  // of n equal blocks of S (all-to-all: block = from * n + to)
  bool reduce = false;
  Bytes bytes;
  int channel = 0;  // algorithms with c channels cut every block into c equal shares: which share
};
using Round = std::vector<Send>;

struct CollectiveAlgorithm {
  std::string_view name;
  bool (*supports)(CollectiveKind kind, const Group& group);
  std::vector<Phase> (*phases)(CollectiveKind kind, const Group& group, Bytes size);
  // Every send of every round. Empty vector: not defined for this algorithm (in-switch reduction),
  // or nothing to send (one member). Between two members the bytes add up to those of the phases.
  std::vector<Round> (*rounds)(CollectiveKind kind, const Group& group, Bytes size);
  std::string_view source;
};

std::span<const CollectiveAlgorithm> collective_table();
const CollectiveAlgorithm* find_collective(std::string_view name);  // null if there is none

// nccl-tests' bus bandwidth factor: busbw = S / t * factor.
double bus_factor(CollectiveKind kind, int members);

}  // namespace windtunnel

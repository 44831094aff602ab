// The rows of the table and what they share. For the files of this room and their tests.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "collectives/collective.hpp"

namespace windtunnel {

extern const CollectiveAlgorithm kRing;
extern const CollectiveAlgorithm kTree;
extern const CollectiveAlgorithm kHalvingDoubling;
extern const CollectiveAlgorithm kHierarchical;
extern const CollectiveAlgorithm kNvls;
extern const CollectiveAlgorithm kPairwise;
extern const CollectiveAlgorithm kTwoLevel;
extern const CollectiveAlgorithm kGloo;

struct NodeMembers {
  int first = 0;  // member
  int count = 0;
};
std::vector<NodeMembers> node_members(const Group& group);

// Parallel copies of an algorithm, each on a share of the bytes and on a rail of its own:
// min(rails, ranks per node) over several nodes, else 1.
int channel_count(const Group& group);

// The member through which a channel enters or leaves a node: channels are spread over the members
// in order, as GPUs are over NICs, and `turn` steps on from there.
int gateway(const NodeMembers& node, int channel, int channels, int turn = 0);

// The two trees of NCCL's double binary tree over ranks 0 .. size-1: the parent of each rank, -1 at
// the root.
using Parents = std::vector<int>;
std::array<Parents, 2> double_tree_parents(int size);

// A circle of members that hands blocks round: each position owns some blocks.
struct Circle {
  std::vector<int> members;              // by position
  std::vector<std::vector<int>> blocks;  // owned, by position
  Bytes bytes_per_block;
  int channel = 0;
};
enum class Pass {
  ReduceScatter,  // ends with the owner of a block having its sum
  AllGather,      // starts from there, ends with everyone having every block
};
// Adds the members.size() - 1 rounds of a pass, starting at `first_round`, which may hold sends of
// other circles already.
void add_pass(Pass pass, const Circle& circle, std::size_t first_round, std::vector<Round>& rounds);

}  // namespace windtunnel

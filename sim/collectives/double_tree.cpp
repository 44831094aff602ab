// The parents of NCCL's double binary tree. Every rank that is inner in one tree is a leaf in the
// other (but for roots, and for odd sizes), so the two together keep every port busy.
// Source: NVIDIA/nccl 2.30.7, src/graph/trees.cc (ncclGetBtree, ncclGetDtree); idea of two trees:
// Sanders, Speck & Traeff 2009, Parallel Computing 35(12).
#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

// In-order numbered binary tree with root 0: the lowest set bit of a rank is its height above the
// leaves, so the parent has the next higher bit set instead.
int btree_parent(int rank, int size) {
  if (rank == 0) return -1;
  const int low = rank & -rank;
  const int up = (rank ^ low) | (low << 1);
  return up < size ? up : rank ^ low;
}

}  // namespace

std::array<Parents, 2> double_tree_parents(int size) {
  SIM_CHECK(size >= 1, "a tree has a rank");
  std::array<Parents, 2> trees;
  for (int rank = 0; rank < size; ++rank) {
    trees[0].push_back(btree_parent(rank, size));
    // Mirroring an odd size would keep the middle rank where it is: shift by one instead.
    const bool mirror = size % 2 == 0;
    const int image = mirror ? size - 1 - rank : (rank + size - 1) % size;
    const int parent = btree_parent(image, size);
    trees[1].push_back(parent < 0 ? -1 : mirror ? size - 1 - parent : (parent + 1) % size);
  }
  return trees;
}

}  // namespace windtunnel

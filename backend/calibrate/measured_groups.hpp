// Which groups of processes are measured.
#pragma once

#include <numeric>
#include <vector>

#include "backend/comm/rendezvous.hpp"

namespace windtunnel {

// The first 2, 4, ... processes and all of them; alone none.
inline std::vector<int> group_sizes(int world) {
  std::vector<int> sizes;
  for (int size = 2; size < world; size *= 2) sizes.push_back(size);
  if (world > 1) sizes.push_back(world);
  return sizes;
}

inline std::vector<int> first_ranks(int count) {
  std::vector<int> ranks(static_cast<std::size_t>(count));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

// Over which the first so many processes are spread.
inline int nodes_of(const Place& place, int ranks) {
  return (ranks + place.local_world - 1) / place.local_world;
}

}  // namespace windtunnel

#include <algorithm>

#include "collectives/families.hpp"

namespace windtunnel {

void add_pass(Pass pass, const Circle& circle, std::size_t first_round,
              std::vector<Round>& rounds) {
  const int size = int(circle.members.size());
  rounds.resize(std::max(rounds.size(), first_round + std::size_t(size - 1)));
  // In an all-gather a position first sends what it owns, then always what it got last. In a
  // reduce-scatter a block starts one position after its owner, so that its sum ends at the owner.
  const int lag = pass == Pass::ReduceScatter ? 1 : 0;
  for (int step = 0; step < size - 1; ++step) {
    Round& round = rounds[first_round + std::size_t(step)];
    for (int position = 0; position < size; ++position) {
      const int owner = (position - step - lag + size) % size;
      for (const int block : circle.blocks[owner])
        round.push_back({.from = circle.members[position],
                         .to = circle.members[(position + 1) % size],
                         .first_block = block,
                         .reduce = pass == Pass::ReduceScatter,
                         .bytes = circle.bytes_per_block,
                         .channel = circle.channel});
    }
  }
}

}  // namespace windtunnel

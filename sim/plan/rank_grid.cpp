#include "plan/rank_grid.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace windtunnel {

namespace {

int size_of(const RankGrid& grid, Dimension dimension) {
  switch (dimension) {
    case Dimension::Tensor:
      return grid.tensor;
    case Dimension::Data:
      return grid.data;
    case Dimension::Pipeline:
      return grid.pipeline;
  }
  SIM_CHECK(false, "unknown dimension");
  return 0;
}

template <class At>  // Coordinates or const Coordinates
auto& coordinate(At& at, Dimension dimension) {
  return dimension == Dimension::Tensor ? at.tensor
         : dimension == Dimension::Data ? at.data
                                        : at.pipeline;
}

}  // namespace

int RankGrid::rank(const Coordinates& at) const {
  int rank = 0, stride = 1;
  for (const Dimension dimension : order) {
    rank += coordinate(at, dimension) * stride;
    stride *= size_of(*this, dimension);
  }
  return rank;
}

Coordinates RankGrid::coordinates(int rank) const {
  SIM_CHECK(rank >= 0 && rank < size(), "rank outside the grid");
  Coordinates at;
  for (const Dimension dimension : order) {
    coordinate(at, dimension) = rank % size_of(*this, dimension);
    rank /= size_of(*this, dimension);
  }
  return at;
}

std::vector<int> RankGrid::members(GroupName group, int rank) const {
  const Coordinates me = coordinates(rank);
  std::vector<int> members;
  const auto add = [&](int t, int d, int p) { members.push_back(this->rank({t, d, p})); };
  const int block = me.data / shard_ranks, place = me.data % shard_ranks;
  // Of a pipeline coordinate's ranks, laid out for experts: `count` of them, `step` apart.
  const auto add_line = [&](int first, int count, int step) {
    for (int i = first; i < first + count * step; i += step)
      add(i % tensor, i / tensor, me.pipeline);
  };
  const int in_line = me.tensor + tensor * me.data;
  const int part = in_line % expert_ranks();  // of the experts, that this rank holds
  switch (group.kind) {
    case GroupKind::Tensor:
      for (int t = 0; t < tensor; ++t) add(t, me.data, me.pipeline);
      break;
    case GroupKind::Data:
      for (int d = 0; d < data; ++d) add(me.tensor, d, me.pipeline);
      break;
    case GroupKind::Shard:
      for (int d = 0; d < shard_ranks; ++d) add(me.tensor, block * shard_ranks + d, me.pipeline);
      break;
    case GroupKind::Replica:
      for (int d = place; d < data; d += shard_ranks) add(me.tensor, d, me.pipeline);
      break;
    case GroupKind::Embedding: {
      const auto [first, last] = embedding_ends;
      const bool in_it = first != last && (me.pipeline == first || me.pipeline == last);
      if (!in_it) return {rank};
      add(me.tensor, me.data, first);
      add(me.tensor, me.data, last);
      break;
    }
    case GroupKind::Model:
      for (int p = 0; p < pipeline; ++p)
        for (int t = 0; t < tensor; ++t) add(t, me.data, p);
      break;
    case GroupKind::World:
      for (int r = 0; r < size(); ++r) members.push_back(r);
      break;
    case GroupKind::Context:
      for (int c = 0; c < context; ++c)
        add(me.tensor, me.data - me.data % context + c, me.pipeline);
      break;
    case GroupKind::ExpertTensor:
      add_line(in_line - part % expert_tensor, expert_tensor, 1);
      break;
    case GroupKind::Expert:
      add_line(in_line - part + part % expert_tensor, expert, expert_tensor);
      break;
    case GroupKind::ExpertData:
      add_line(part, expert_data(), expert_ranks());
      break;
    case GroupKind::Listed: {
      const std::vector<int>& list = listed[std::size_t(group.listed)];
      return std::find(list.begin(), list.end(), rank) == list.end() ? std::vector{rank} : list;
    }
  }
  return members;
}

}  // namespace windtunnel

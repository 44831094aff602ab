// Ranks, coordinates and groups. t, d, p = tensor, data, pipeline degree; g = ranks of a shard.
#include <algorithm>
#include <set>

#include "catch.hpp"
#include "plan/rank_grid.hpp"

namespace windtunnel {
namespace {

using enum Dimension;
using Ranks = std::vector<int>;

std::vector<std::array<Dimension, 3>> all_orders() {
  std::array<Dimension, 3> order = {Tensor, Data, Pipeline};
  std::vector<std::array<Dimension, 3>> orders;
  do orders.push_back(order);
  while (std::next_permutation(order.begin(), order.end()));
  return orders;
}

// Every order of grids with degrees 1 to 4, every divisor of d as shard, embedding on the first and
// last pipeline coordinate.
std::vector<RankGrid> small_grids() {
  std::vector<RankGrid> grids;
  for (const auto& order : all_orders())
    for (const int t : {1, 2, 3})
      for (const int d : {1, 2, 4})
        for (const int p : {1, 2, 3})
          for (int g = 1; g <= d; g *= 2)
            grids.push_back({.tensor = t,
                             .data = d,
                             .pipeline = p,
                             .order = order,
                             .shard_ranks = g,
                             .embedding_ends = {0, p - 1}});
  // Samples shared by as many ranks as make a shard, and experts in every way that divides.
  for (std::size_t i = 0, plain = grids.size(); i < plain; ++i)
    for (const int expert : {1, 2, 4})
      for (const int expert_tensor : {1, 2, 3}) {
        RankGrid grid = grids[i];
        if (grid.tensor * grid.data % (expert * expert_tensor) != 0) continue;
        grid.context = grid.shard_ranks;
        grid.expert = expert;
        grid.expert_tensor = expert_tensor;
        grids.push_back(grid);
      }
  return grids;
}

}  // namespace

TEST_CASE("rank grid: ranks and coordinates are each other's inverse in every order") {
  CHECK(all_orders().size() == 6);
  for (const RankGrid& grid : small_grids()) {
    std::set<int> ranks;
    for (int t = 0; t < grid.tensor; ++t)
      for (int d = 0; d < grid.data; ++d)
        for (int p = 0; p < grid.pipeline; ++p) {
          const Coordinates at = {t, d, p};
          const int rank = grid.rank(at);
          CHECK(grid.coordinates(rank) == at);
          ranks.insert(rank);
        }
    CHECK(ranks.size() == std::size_t(grid.size()));
    CHECK(*ranks.begin() == 0);
    CHECK(*ranks.rbegin() == grid.size() - 1);
  }
}

TEST_CASE("rank grid: the first dimension of the order is the fastest") {
  RankGrid grid = {.tensor = 2, .data = 3, .pipeline = 4};
  const Coordinates at = {.tensor = 1, .data = 2, .pipeline = 3};
  grid.order = {Tensor, Data, Pipeline};
  CHECK(grid.rank(at) == 1 + 2 * 2 + 3 * 6);  // t + 2 d + 6 p
  grid.order = {Tensor, Pipeline, Data};
  CHECK(grid.rank(at) == 1 + 3 * 2 + 2 * 8);  // t + 2 p + 8 d
  grid.order = {Data, Pipeline, Tensor};
  CHECK(grid.rank(at) == 2 + 3 * 3 + 1 * 12);  // d + 3 p + 12 t
  grid.order = {Pipeline, Data, Tensor};
  CHECK(grid.rank(at) == 3 + 2 * 4 + 1 * 12);  // p + 4 d + 12 t
}

TEST_CASE("rank grid: every kind of group partitions the ranks") {
  for (const RankGrid& grid : small_grids()) {
    const int t = grid.tensor, d = grid.data, p = grid.pipeline, g = grid.shard_ranks;
    const int et = grid.expert_tensor, e = grid.expert, c = grid.context;
    const int sizes[] = {t,     d,         g, d / g, 0,  // by GroupKind
                         t * p, t * d * p, c, et,    e, t * d / (e * et)};
    // Listed groups are those of a recording; a grid of dimensions has none.
    for (int kind = 0; kind < int(GroupKind::Listed); ++kind) {
      INFO(kGroupKindNames[std::size_t(kind)] << " t" << t << " d" << d << " p" << p << " g" << g);
      for (int rank = 0; rank < grid.size(); ++rank) {
        const Ranks members = grid.members(GroupKind(kind), rank);
        CHECK(std::count(members.begin(), members.end(), rank) == 1);
        CHECK(std::set<int>(members.begin(), members.end()).size() == members.size());
        // Every member sees the same group in the same order: the groups do not overlap.
        for (const int member : members) CHECK(grid.members(GroupKind(kind), member) == members);
        const int stage = grid.coordinates(rank).pipeline;
        const bool holds_embedding = p > 1 && (stage == 0 || stage == p - 1);
        const int expected =
            GroupKind(kind) == GroupKind::Embedding ? (holds_embedding ? 2 : 1) : sizes[kind];
        CHECK(int(members.size()) == expected);
      }
    }
  }
}

TEST_CASE("rank grid: members differ in the coordinates of their group only") {
  for (const RankGrid& grid : small_grids())
    for (int rank = 0; rank < grid.size(); ++rank) {
      const Coordinates me = grid.coordinates(rank);
      const auto all_agree = [&](GroupKind kind, bool tensor, bool data, bool pipeline) {
        const Ranks members = grid.members(kind, rank);
        return std::all_of(members.begin(), members.end(), [&](int member) {
          const Coordinates at = grid.coordinates(member);
          return (!tensor || at.tensor == me.tensor) && (!data || at.data == me.data) &&
                 (!pipeline || at.pipeline == me.pipeline);
        });
      };
      CHECK(all_agree(GroupKind::Tensor, false, true, true));
      CHECK(all_agree(GroupKind::Data, true, false, true));
      CHECK(all_agree(GroupKind::Shard, true, false, true));
      CHECK(all_agree(GroupKind::Replica, true, false, true));
      CHECK(all_agree(GroupKind::Context, true, false, true));
      for (const GroupKind kind :
           {GroupKind::ExpertTensor, GroupKind::Expert, GroupKind::ExpertData})
        CHECK(all_agree(kind, false, false, true));
      CHECK(all_agree(GroupKind::Embedding, true, true, false));
      CHECK(all_agree(GroupKind::Model, false, true, false));
    }
}

TEST_CASE("rank grid: tensor first puts tensor-parallel groups on consecutive ranks") {
  const RankGrid grid = {.tensor = 4, .data = 2, .pipeline = 2};
  for (int rank = 0; rank < grid.size(); ++rank) {
    const int first = rank / 4 * 4;
    CHECK(grid.members(GroupKind::Tensor, rank) == Ranks{first, first + 1, first + 2, first + 3});
  }
  // Data-parallel ranks are then t apart, pipeline ranks t d apart.
  CHECK(grid.members(GroupKind::Data, 5) == Ranks{1, 5});
  CHECK(grid.rank({.pipeline = 1}) == 8);
  CHECK(grid.members(GroupKind::Model, 5) == Ranks{4, 5, 6, 7, 12, 13, 14, 15});
}

TEST_CASE("rank grid: shards are blocks of neighbours, replicas hold the same place in them") {
  RankGrid grid = {.data = 8, .shard_ranks = 4};
  CHECK(grid.members(GroupKind::Shard, 2) == Ranks{0, 1, 2, 3});
  CHECK(grid.members(GroupKind::Shard, 5) == Ranks{4, 5, 6, 7});
  CHECK(grid.members(GroupKind::Replica, 5) == Ranks{1, 5});
  grid.shard_ranks = 2;
  CHECK(grid.members(GroupKind::Shard, 5) == Ranks{4, 5});
  CHECK(grid.members(GroupKind::Replica, 5) == Ranks{1, 3, 5, 7});
  grid.shard_ranks = 8;  // plain FSDP
  CHECK(grid.members(GroupKind::Shard, 5) == grid.members(GroupKind::Data, 5));
  CHECK(grid.members(GroupKind::Replica, 5) == Ranks{5});
  // With t = 2 the neighbours in the data coordinate are two ranks apart.
  grid = {.tensor = 2, .data = 4, .shard_ranks = 2};
  CHECK(grid.members(GroupKind::Shard, 5) == Ranks{5, 7});
  CHECK(grid.members(GroupKind::Replica, 5) == Ranks{1, 5});
}

TEST_CASE("rank grid: the embedding group joins the two ends of the pipeline") {
  RankGrid grid = {.data = 2, .pipeline = 4, .embedding_ends = {0, 3}};
  CHECK(grid.members(GroupKind::Embedding, 0) == Ranks{0, 6});  // rank = d + 2 p
  CHECK(grid.members(GroupKind::Embedding, 7) == Ranks{1, 7});
  CHECK(grid.members(GroupKind::Embedding, 2) == Ranks{2});
  grid.embedding_ends = {0, 0};  // both on one coordinate: nothing to add up
  CHECK(grid.members(GroupKind::Embedding, 0) == Ranks{0});
}

TEST_CASE("rank grid: experts lay a stage's ranks out anew, tensor fastest") {
  // Ranks of stage 0: t + 2 d = 0..7. As tensor 2 x data 4 for attention, as expert tensor 1 x
  // expert 4 x expert data 2 for experts.
  RankGrid grid = {.tensor = 2, .data = 4, .pipeline = 2, .expert = 4, .expert_tensor = 1};
  CHECK(grid.members(GroupKind::Expert, 2) == Ranks{0, 1, 2, 3});
  CHECK(grid.members(GroupKind::Expert, 13) == Ranks{12, 13, 14, 15});
  CHECK(grid.members(GroupKind::ExpertData, 2) == Ranks{2, 6});
  CHECK(grid.members(GroupKind::ExpertTensor, 2) == Ranks{2});
  // Split as the other weights: expert tensor groups are the tensor groups.
  grid.expert = 2;
  grid.expert_tensor = 2;
  CHECK(grid.members(GroupKind::ExpertTensor, 5) == grid.members(GroupKind::Tensor, 5));
  CHECK(grid.members(GroupKind::Expert, 5) == Ranks{5, 7});
  CHECK(grid.members(GroupKind::ExpertData, 5) == Ranks{1, 5});
  // Samples shared by 2: data ranks 0 and 1, 2 and 3.
  grid.context = 2;
  CHECK(grid.members(GroupKind::Context, 5) == Ranks{5, 7});
  CHECK(grid.members(GroupKind::Context, 2) == Ranks{0, 2});
}

}  // namespace windtunnel

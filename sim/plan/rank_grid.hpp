// Ranks and their coordinates, and the communicators that the coordinates define.
#pragma once

#include <array>
#include <compare>
#include <string_view>
#include <vector>

namespace windtunnel {

enum class Dimension { Tensor, Data, Pipeline };
inline constexpr std::array<std::string_view, 3> kDimensionNames = {"tensor", "data", "pipeline"};

struct Coordinates {
  int tensor = 0, data = 0, pipeline = 0;
  bool operator==(const Coordinates&) const = default;
};

// A communicator is all ranks that agree in the other coordinates.
// Shard: blocks of `shard_ranks` consecutive data coordinates (ZeRO-3 shards inside one block).
// Replica: the ranks that hold the same shard in different blocks. Embedding: the pipeline
// coordinates that hold the embedding and the tied head. Model: all of tensor x pipeline. World:
// every rank. Listed: ranks that a recording lists, whatever their coordinates.
// Layers of experts lay the tensor x data ranks of a pipeline coordinate out anew, tensor
// fastest: expert tensor x expert x expert data. ExpertTensor: the ranks that split one expert's
// features. Expert: that hold different experts. ExpertData: that hold the same.
// Source: Liu et al. 2025 (parallel folding), arXiv:2504.14960, section 3.
// Context: blocks of `context` consecutive data coordinates, which share their samples.
enum class GroupKind {
  Tensor,
  Data,
  Shard,
  Replica,
  Embedding,
  Model,
  World,
  Context,
  ExpertTensor,
  Expert,
  ExpertData,
  Listed
};
inline constexpr std::array<std::string_view, 12> kGroupKindNames = {
    "tensor", "data",    "shard",         "replica", "embedding",   "model",
    "world",  "context", "expert tensor", "expert",  "expert data", "listed"};

// The groups of a kind; or of the kind Listed the one group RankGrid::listed[listed].
struct GroupName {
  GroupKind kind = GroupKind::Data;
  int listed = -1;
  constexpr GroupName(GroupKind of_kind, int of_list = -1) : kind(of_kind), listed(of_list) {}
  auto operator<=>(const GroupName&) const = default;
};

struct RankGrid {
  int tensor = 1, data = 1, pipeline = 1;
  // Fastest first: with {Tensor, Data, Pipeline} ranks 0..t-1 are one tensor-parallel group.
  std::array<Dimension, 3> order = {Dimension::Tensor, Dimension::Data, Dimension::Pipeline};
  int shard_ranks = 1;                         // divides data
  int context = 1;                             // divides data, which counts all of its ranks
  int expert = 1, expert_tensor = 1;           // their product divides tensor * data
  std::array<int, 2> embedding_ends = {0, 0};  // pipeline coordinates of embedding and tied head
  std::vector<std::vector<int>> listed;        // the groups of a recording

  int size() const { return tensor * data * pipeline; }
  int expert_ranks() const { return expert * expert_tensor; }  // that hold parts of the experts
  int expert_data() const { return tensor * data / expert_ranks(); }  // that hold the same part
  int rank(const Coordinates& at) const;
  Coordinates coordinates(int rank) const;
  // The group of this name that the rank belongs to, in group order; {rank} alone if it is in none.
  std::vector<int> members(GroupName group, int rank) const;
};

}  // namespace windtunnel

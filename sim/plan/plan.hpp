// A Plan says what every rank does in one training step. The simulator and the backend both run it.
//
// One Program per pipeline coordinate: ranks that differ only in data and tensor coordinates run
// the same program on other data. Work is in FLOPs and bytes, so a Plan serves any device.
//
// Invariants: `after` refers to earlier or later ops of the same program without cycles; ops on one
// stream run in program order; every Send has its Receive in the peer's program under the same
// message.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "base/work.hpp"
#include "model/model.hpp"
#include "plan/rank_grid.hpp"
#include "schedules/schedule.hpp"

namespace windtunnel {

// In-order queues of one rank. Two have no order of their own. Receive: messages arrive as they are
// sent. Transfers: the collectives and messages of a recording; each begins when what it waits for
// has ended.
enum class Stream { Compute, Communication, SendActivation, SendGradient, Receive, Transfers };
inline constexpr std::array<std::string_view, 6> kStreamNames = {
    "compute", "communication", "send activation", "send gradient", "receive", "transfers"};
inline constexpr std::size_t kStreams = kStreamNames.size();

enum class OpKind { Compute, Collective, Send, Receive };

// What an op is for; reports group time by it.
enum class Purpose {
  Forward,
  Backward,
  InputGradient,
  WeightGradient,
  Optimizer,
  Activation,           // pipeline transfer
  Gradient,             // pipeline transfer
  GradientReduction,    // data parallel
  ParameterGather,      // ZeRO
  ReplicatedReduction,  // sequence parallelism: gradients of tensors that every tensor rank has
  EmbeddingReduction,   // tied embeddings
  NormReduction,        // gradient norm
  Kernel,               // of a recording, which does not say what an op is for
  Message,              // likewise
  Collective            // likewise
};
inline constexpr std::array<std::string_view, 15> kPurposeNames = {"forward",
                                                                   "backward",
                                                                   "input gradient",
                                                                   "weight gradient",
                                                                   "optimizer",
                                                                   "activation",
                                                                   "gradient",
                                                                   "gradient reduction",
                                                                   "parameter gather",
                                                                   "replicated reduction",
                                                                   "embedding reduction",
                                                                   "norm reduction",
                                                                   "kernels",
                                                                   "message",
                                                                   "collective"};

// Framework: CUDA context, cuBLAS workspace, NCCL's buffers. Fragmentation: what PyTorch's
// allocator holds and cannot use.
enum class MemoryKind {
  Weights,
  Gradients,
  Optimizer,
  Activations,
  Buffers,
  Logits,
  Framework,
  Fragmentation
};
inline constexpr std::array<std::string_view, 8> kMemoryKindNames = {
    "weights", "gradients", "optimizer", "activations",
    "buffers", "logits",    "framework", "fragmentation"};
using MemoryByKind = std::array<Bytes, kMemoryKindNames.size()>;
Bytes total(const MemoryByKind& memory);

struct MemoryChange {
  MemoryKind kind = MemoryKind::Activations;
  double bytes = 0;  // negative: freed
};

// The group of ranks that a layer means.
constexpr GroupKind group_kind(LayerGroup group) {
  switch (group) {
    case LayerGroup::Tensor:
      return GroupKind::Tensor;
    case LayerGroup::Context:
      return GroupKind::Context;
    case LayerGroup::Expert:
      return GroupKind::Expert;
    case LayerGroup::ExpertTensor:
      return GroupKind::ExpertTensor;
  }
  return GroupKind::Tensor;
}

// Layer operations in the order in which one rank runs them, tensor-parallel collectives included.
struct BlockPiece {
  Piece piece;
  int layer = 0;
  bool recompute = false;           // runs a second time what the forward pass ran
  ActionType pass = ActionType::F;  // of the layer
};
using Block = std::vector<BlockPiece>;
// Pieces of no layer, at the end of a step.
inline constexpr std::string_view kOptimizerName = "optimizer", kNormName = "gradient norm";

struct Op {
  OpKind kind = OpKind::Compute;
  Stream stream = Stream::Compute;
  Purpose purpose = Purpose::Forward;
  int stage = -1;  // virtual stage; for a Send or Receive the stage that produced the message
  int micro_batch = -1;
  // Of a recording: its name there. A message of one is numbered by `stage`, its sender, and
  // `micro_batch`, its place among all that the sender sends.
  std::string name;
  int first_layer = -1, end_layer = -1;  // the layers [first, end) that it covers
  int block = -1;                        // Compute: index into Plan::blocks
  bool releases_weights = false;         // Compute: ZeRO-3 frees its gathered weights at its end
  int peer = -1;                         // Send, Receive: pipeline coordinate of the other side
  GroupName group = GroupKind::Data;     // Collective
  CollectiveKind collective = CollectiveKind::AllReduce;
  Bytes bytes;             // Collective: size as collectives/ counts it; Send, Receive: message
  std::vector<int> after;  // ops of this program that must have ended, besides the stream's order
  std::vector<MemoryChange> on_start, on_end;
};

struct Program {
  int pipeline = 0;  // its coordinate
  std::vector<Op> ops;
  MemoryByKind at_start{};      // resident before the step
  std::int64_t parameters = 0;  // held by one rank, before ZeRO sharding
};

struct Plan {
  RankGrid grid;
  DType type = DType::Bf16;
  Schedule schedule;
  std::vector<Program> programs;  // by pipeline coordinate
  std::vector<Block> blocks;
  bool overlaps_experts = false;  // Parallelism::overlap_experts
};

// Requires a valid job. The plan of a recorded job is what was recorded.
struct Job;
Plan build_plan(const Job& job);

std::string op_name(const Op& op);      // "2F0", "send 2F0 to 3", "all_reduce data 26.2 MB ..."
std::string to_text(const Plan& plan);  // what `windtunnel plan` prints

// Buckets of PyTorch DDP over tensors in gradient-ready order: a bucket closes when it has reached
// the current limit. Returns the indices in each bucket. Source: compute_bucket_assignment_by_size
// in torch/csrc/distributed/c10d/reducer.cpp. Tensor `alone`, if any, has a bucket of its own.
std::vector<std::vector<int>> ddp_buckets(const std::vector<Bytes>& tensors, Bytes first_limit,
                                          Bytes limit, std::optional<int> alone = std::nullopt);

// Memory of one rank of each program: by kind at the moment of its peak in program order.
struct MemoryPeak {
  MemoryByKind at_peak{};
  int op = -1;  // the op during which the peak is reached; -1: before the first
};
MemoryPeak peak_memory(const Program& program);

// Bytes that one rank of a program hands to collectives of one kind and group, and the count of
// them.
struct CollectiveVolume {
  Bytes bytes;
  int count = 0;
};
CollectiveVolume collective_volume(const Program& program, GroupName group, CollectiveKind kind);

}  // namespace windtunnel

#include "plan/runtime_memory.hpp"

#include <algorithm>
#include <array>
#include <set>

namespace windtunnel {
namespace {

constexpr double kMiB = 1024.0 * 1024;

// What PyTorch's out-of-memory messages say a process has beside PyTorch's own memory, one GPU and
// no communicator: A100 0.40 and 0.49 GiB (HiDream-ai/VAREdit issue 6, TianheWu/CoSeR issue 10).
constexpr double kCudaContext = 0.49 * 1024 * kMiB;

// CUBLAS_WORKSPACE_CONFIG and the size of cuBLASLt's workspace that PyTorch sets: 8519680 bytes and
// 4 MiB before Hopper, 32 MiB each from Hopper on. Source: pytorch/pytorch
// aten/src/ATen/cuda/CublasHandlePool.cpp and CUDABlas.cpp (pull requests 83461 and 120925).
constexpr double kCublas = 8519680 + 4 * kMiB, kCublasHopper = 64 * kMiB;

// Bytes of activations and buffers for which the caching allocator holds one more byte that it
// cannot use. Fitted on the `calibrate` rows of table 11 (fits or not); measured elsewhere: 0.25
// (14.15 GiB reserved and unallocated beside 56.70, MohdUbaidwani/Vad-R1 issue 11), up to 33 % of
// the memory (Guo et al. 2024, GMLake, arXiv:2401.08156), up to 43 % (arXiv:2507.16274).
constexpr double kFragmentation = 0.2;

bool has_gpu_runtime(const Job& job) {
  return job.software->has_runtime && !job.cluster.node_types.empty() &&
         job.cluster.node_types.front().gpu.arch != "cpu";
}

std::set<GroupName> groups_of(const Program& program, const std::vector<Block>& blocks) {
  std::set<GroupName> groups;
  for (const Op& op : program.ops) {
    if (op.kind == OpKind::Collective) groups.insert(op.group);
    if (op.block < 0) continue;
    for (const BlockPiece& piece : blocks[std::size_t(op.block)])
      if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what))
        groups.insert(group_kind(collective->group));
  }
  return groups;
}

Bytes communicator_memory(const NodeType& node, const std::vector<int>& members) {
  if (members.size() < 2 || !node.nccl) return Bytes(0);
  const auto [first, last] = std::minmax_element(members.begin(), members.end());
  const bool in_one_node = *first / node.gpus == *last / node.gpus;
  return nccl_buffers(in_one_node ? node.nccl->channels : node.nccl->channels_inter);
}

void add_fragmentation(std::vector<MemoryChange>& changes) {
  double bytes = 0;
  for (const MemoryChange& change : changes) bytes += kFragmentation * change.bytes;
  if (bytes != 0) changes.push_back({MemoryKind::Fragmentation, bytes});
}

}  // namespace

// Receive buffers of a connection and channel: LL 8 lines x 512 threads x 8 steps x 16 B, LL128 120
// x 640 threads x 8 steps x 8 B, Simple 4 MiB. A member of rings and trees receives from the two
// neighbours that it has in its node or rail. NCCL runs twice the channels that its graph search
// finds. Source: NVIDIA/nccl 2.30.7, src/include/device.h, src/init.cc (computeBuffSizes),
// src/graph/connect.cc; send/receive connections of pipelines are left out.
Bytes nccl_buffers(int channels) {
  constexpr double kLl = 8.0 * 512 * 8 * 16, kLl128 = 120.0 * 640 * 8 * 8, kSimple = 4 * kMiB;
  return Bytes(2.0 * channels * 2 * (kLl + kLl128 + kSimple));
}

void add_runtime_memory(const Job& job, const RankGrid& grid, const std::vector<Block>& blocks,
                        Program& program) {
  if (!has_gpu_runtime(job)) return;
  const NodeType& node = job.cluster.node_types.front();
  const bool is_old = node.gpu.arch == "volta" || node.gpu.arch == "ampere";
  Bytes& framework = program.at_start[std::size_t(MemoryKind::Framework)];
  framework = Bytes(kCudaContext + (is_old ? kCublas : kCublasHopper));
  const int rank = grid.rank({.pipeline = program.pipeline});
  for (const GroupName group : groups_of(program, blocks))
    framework += communicator_memory(node, grid.members(group, rank));
  // Free pages of 20 MiB are mapped to where memory is asked for. Source: pytorch/pytorch
  // c10/cuda/CUDACachingAllocator.cpp, ExpandableSegment (pull request 96995).
  if (job.expandable_segments) return;
  for (Op& op : program.ops) {
    add_fragmentation(op.on_start);
    add_fragmentation(op.on_end);
  }
}

}  // namespace windtunnel

// What implementations of ZeRO-3 copy between tensors and the buffers that they send, on the
// compute stream.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/units.hpp"
#include "plan/job.hpp"

namespace windtunnel {

inline constexpr std::string_view kUnshardName = "unshard.copy", kReduceName = "reduce.copy";

struct FlatCopies {
  Bytes after_gather, before_reduction;  // read and written; zero: no copy
  // Kernels that the process issues in a loop for which the device waits; 0: one kernel.
  int gathered_pieces = 0, reduced_pieces = 0;
  auto operator<=>(const FlatCopies&) const = default;
};
// Of `gathered` parameters before they are used and of `reduced` ones after their gradients are
// complete.
// Version 1 (FullyShardedDataParallel): tensors are views of the gathered buffer, whose gradient
// autograd concatenates from theirs, and which is cast where the reduction has another format; the
// cast runs beside compute, but takes the same memory bandwidth. Source: PyTorch,
// torch/distributed/fsdp/flat_param.py and _runtime_utils.py (_post_backward_hook).
// Version 2 (fully_shard): tensors are copied out of the gathered buffer, gradients into the one
// that is reduced, in its format. Source: PyTorch 01d66d21,
// torch/distributed/_composable/fsdp/_fsdp_collectives.py (foreach_all_gather_copy_out,
// foreach_reduce_scatter_copy_in).
FlatCopies flat_copies(const Job& job, double gathered, double reduced);

struct TensorCount {
  double parameters = 0;
  int tensors = 0;
  void add(std::int64_t numel) {
    parameters += double(numel);
    ++tensors;
  }
};
// `ranks` pieces of each tensor. DeepSpeed before 0.6 clears the buffer of a tensor (a write) and
// gathers it by a list of pieces, before which it synchronizes with the device; gradients it
// divides in place (a read and a write) and reduces by a list. PyTorch copies a list's pieces out
// of and into a buffer of its own (a read and a write). Source: DeepSpeed 0.3.16,
// runtime/zero/partition_parameters.py (_allgather_param, _reduce_scatter_gradient) and stage3.py;
// PyTorch 00f5dfd, ProcessGroupNCCL.cpp (allgather, reduce_scatter).
FlatCopies list_copies(const Job& job, int ranks, const TensorCount& gathered,
                       const TensorCount& reduced);
// Smaller tensors stay gathered from the end of one step to that of the next. Source: the default
// of stage3_param_persistence_threshold, DeepSpeed 0.3.16, runtime/zero/constants.py.
inline constexpr std::int64_t kSmallestPartitioned = 100'000;

}  // namespace windtunnel

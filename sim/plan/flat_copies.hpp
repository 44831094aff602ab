// What FSDP copies between tensors and the flat buffers that it sends, on the compute stream.
#pragma once

#include <string_view>

#include "base/units.hpp"
#include "plan/job.hpp"

namespace windtunnel {

inline constexpr std::string_view kUnshardName = "unshard.copy", kReduceName = "reduce.copy";

struct FlatCopies {
  Bytes after_gather, before_reduction;  // read and written; zero: no copy
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

}  // namespace windtunnel

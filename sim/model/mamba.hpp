// A Mamba-2 mixer as a layer of its own, with its norm and its residual: a linear onto z, x, B, C
// and dt, the state space, a norm over each group's features, a linear back. Under tensor
// parallelism every rank has H/t heads and G/t groups; the first linear is split by columns, the
// last by rows. With more than one sample, the batch is brought to the front between the linears
// and back: copies. Source: NVIDIA/Megatron-LM @00bebb4 megatron/core/ssm/mamba_mixer.py
// (_ssm_training).
#pragma once

#include <string>
#include <vector>

#include "model/state_space.hpp"

namespace windtunnel {

std::vector<Operation> mamba_operations(const TransformerSlice& slice, const MambaShape& shape);
std::vector<Tensor> mamba_tensors(std::int64_t hidden, const MambaShape& shape);

// Why heads and groups cannot be split over the ranks, or empty.
std::string mamba_slice_limits(const MambaShape& shape, const Slice& slice);

}  // namespace windtunnel

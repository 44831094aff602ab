// Low-rank adapters (LoRA): the model's own weights are frozen, and beside some linears runs
// y += (alpha / r) (x A) B with A of in x r and B of r x out, which alone are trained.
//
// A frozen linear has no weight gradient, keeps no input for one and gathers none. Beside a linear
// that is split by columns A is split over r, and what it returns gathered over the tensor ranks;
// beside one that is split by rows A is too, and what it returns summed. B is split by columns;
// beside rows its output goes from features to tokens by an all-to-all. Both in 16 bits whatever
// the job's format. Dropout, the scale and the sum with the linear's output are kernels of their
// own. Sources: Hu et al. 2021, arXiv:2106.09685; NVIDIA-NeMo/Megatron-Bridge
// src/megatron/bridge/peft/utils.py @29836cc (ParallelLinearAdapter); NVIDIA/TransformerEngine
// transformer_engine/pytorch/module/linear.py @0004dbd (`if weight.requires_grad`).
#pragma once

#include <string>

#include "model/transformer.hpp"

namespace windtunnel {

// Of what trains nothing: no weight gradient, nothing kept, gathered or transposed for it.
Operation frozen(Operation op, DType type);

// Which way the linear is split that the adapter stands beside.
enum class LinearSplit { Columns, Rows };
Operation adapter(const TransformerSlice& slice, const AdapterShape& shape, std::int64_t in,
                  std::int64_t out, LinearSplit split);

// A and B of the linear `name`.
std::vector<Tensor> adapter_tensors(const std::string& name, std::int64_t rank, std::int64_t in,
                                    std::int64_t out);

}  // namespace windtunnel

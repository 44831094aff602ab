// Multi-head latent attention (DeepSeek-V2): queries, and keys with values, are made of narrow
// hidden states, and only those would have to be kept for inference. In training the heads are
// whole again before the attention core.
//
// q_r, kv_r = widths of the narrow states, d_r = features of a head with rotary positions, whose
// keys all heads share, d_n = the others, d_v = a value's. Parameters:
// h q_r + q_r + q_r a (d_n + d_r) + h (kv_r + d_r) + kv_r + kv_r a (d_n + d_v), and a d_v h for the
// projection. The narrow linears are whole on every tensor-parallel rank and run on its own tokens.
// Sources: DeepSeek-AI 2024, arXiv:2405.04434, section 2.1; NVIDIA/Megatron-LM d98e8a64,
// megatron/core/transformer/multi_latent_attention.py.
#pragma once

#include <string>
#include <vector>

#include "model/transformer.hpp"

namespace windtunnel {

// From the norm before attention to queries, keys and values.
std::vector<Operation> latent_operations(const TransformerSlice& slice, const BlockShape& shape);
// Of the same.
std::vector<Tensor> latent_tensors(const BlockShape& shape);

}  // namespace windtunnel

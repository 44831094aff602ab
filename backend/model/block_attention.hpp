// Causal attention of this rank's queries to the keys of all ranks of a context-parallel group, one
// block of keys after another: what a block leaves is merged with what earlier ones left by the
// softmax's sums. As FlashAttention does, it keeps Q, K, V, the output and a sum for each row, and
// computes the scores again in the backward pass: two GEMMs forward, five backward.
// The blocks are GEMMs and a softmax: LibTorch's fused attention does not hand out the sums.
// Sources: Liu et al. 2023, arXiv:2310.01889; Dao et al. 2022, arXiv:2205.14135, algorithm 4.
#pragma once

#include "backend/model/layer_module.hpp"

namespace windtunnel {

// q [s/c, b, g, q, d], k [s/c, b, g, d], v [s/c, b, g, v], of this rank's tokens; returns
// [s/c, b, g q v].
// `slopes` [g, q] of ALiBi's biases, or undefined.
at::Tensor block_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& slopes, LayerContext& context);

}  // namespace windtunnel

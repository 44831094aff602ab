// The core of attention: scores, softmax and values, on this rank's heads.
//
// s = tokens, b = samples, g = key-value heads of this rank, q = query heads of each
// of them, d = head size.
#pragma once

#include "backend/model/layer_module.hpp"

namespace windtunnel {

struct AttentionOptions {
  bool causal = false;
  bool rotary = false;
  // Linear biases to the scores in place of positions. Source: Press et al. 2021, arXiv:2108.12409.
  bool alibi = false;
  // Query heads of the whole model, and of the ranks before this one: ALiBi's slopes.
  std::int64_t heads = 0, first_head = 0;
};

// qkv [s, b, g (q + 2) d]: for each key-value head its queries, its key and its value, as
// Megatron-LM lays them out, so that ranks split whole heads. Returns [s, b, g q d].
// Unfused keeps the scores. Flash is LibTorch's fused attention, and unfused where LibTorch has
// none (before 2.0). Where other ranks have the rest of the tokens, it attends to all of them in
// the way that the context says (context_parallel.hpp); s is then this rank's. With
// `context.selective_recompute` unfused attention keeps Q, K and V alone and runs again in the
// backward pass. No dropout: the backend computes what one process would compute.
at::Tensor attention(const at::Tensor& qkv, std::int64_t kv_heads, std::int64_t head_size,
                     const AttentionOptions& options, LayerContext& context);

}  // namespace windtunnel

// The core of attention: scores, softmax and values, on this rank's heads.
//
// s = tokens, b = samples, g = key-value heads of this rank, q = query heads of each
// of them, d = size of a query and a key, v = of a value.
#pragma once

#include "backend/model/layer_module.hpp"

namespace windtunnel {

struct Heads {
  at::Tensor q, k, v;  // [s, b, g, q, d], [s, b, g, d], [s, b, g, v]
};

struct AttentionOptions {
  bool causal = false;
  // Linear biases to the scores in place of positions. Source: Press et al. 2021, arXiv:2108.12409.
  bool alibi = false;
  // Query heads of the whole model, and of the ranks before this one: ALiBi's slopes.
  std::int64_t heads = 0, first_head = 0;
};

// Returns [s, b, g q v]. Samples that share a sequence attend to themselves alone.
// Unfused keeps the scores. Flash is LibTorch's fused attention, and unfused where LibTorch has
// none (before 2.0). Where other ranks have the rest of the tokens, it attends to all of them in
// the way that the context says (context_parallel.hpp); s is then this rank's. With
// `context.selective_recompute` unfused attention keeps Q, K and V alone and runs again in the
// backward pass. No dropout: the backend computes what one process would compute.
at::Tensor attention(const Heads& heads, const AttentionOptions& options, LayerContext& context);

}  // namespace windtunnel

// Samples whose tokens are shared by the ranks of a context-parallel group, as
// sim/model/context_parallel.hpp says: who has which tokens, and how attention sees them all.
//
// s = tokens, c = ranks. The tokens are 2 c chunks; rank i has chunk i and chunk 2c - 1 - i, in
// this order, so that all ranks have the same part of a causal square. Sources: Liu et al. 2023,
// arXiv:2310.01889; Dubey et al. 2024, arXiv:2407.21783, section 3.3.2; Jacobs et al. 2023,
// arXiv:2309.14509; TransformerEngine, context_parallel.py.
#pragma once

#include "backend/model/layer_module.hpp"

namespace windtunnel {

// [s, ...] <-> [c, s/c, ...]: all tokens in their order, or those of each rank.
at::Tensor tokens_by_rank(const at::Tensor& whole, int ranks);
at::Tensor tokens_in_order(const at::Tensor& by_rank);
// Of a whole [s, ...], this rank's tokens [s/c, ...].
at::Tensor own_tokens(const at::Tensor& whole, const LayerContext& context);

// Ulysses: one all-to-all. x [s/c, b, f], this rank's tokens of all heads, to [s, b, f/c], all
// tokens of this rank's heads; and back. Backward: the other way.
at::Tensor tokens_to_heads(const at::Tensor& x, LayerContext& context);
at::Tensor heads_to_tokens(const at::Tensor& x, LayerContext& context);

// Every rank has one block, of keys and values. Visits those of all ranks, this one's first: around
// the ring, the next block on its way beside the visit; or gathered before, as the job says.
using BlockVisit = std::function<void(int from, const at::Tensor& block)>;
void visit_blocks(const at::Tensor& own, LayerContext& context, const BlockVisit& visit);

// Visits them likewise for the gradient that this rank has of each, and returns the sum over the
// ranks of those of this rank's block: sums go round behind the blocks, or are reduce-scattered.
using BlockGradient = std::function<at::Tensor(int from, const at::Tensor& block)>;
at::Tensor summed_block_gradients(const at::Tensor& own, LayerContext& context,
                                  const BlockGradient& gradient_of);

}  // namespace windtunnel

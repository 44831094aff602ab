// A mixture of experts in place of the MLP, as Megatron-Core's all-to-all dispatcher runs it.
//
// E experts of width f, k of them for each token, ep ranks of expert parallelism, et of expert
// tensor parallelism. A rank has n tokens of its own (b s, or b s / t under sequence parallelism)
// and sends k n copies of them. Routing is balanced: every expert gets the same number of copies,
// so that all ranks take the same time. Forward:
//   router      n x h x E, top k of each token
//   permute     k n copies, ordered by expert
//   dispatch    all-to-all over ep: k n h e bytes, (ep-1)/ep of which leave the rank; then an
//               all-gather over et
//   experts     E/ep GEMMs of (k n et ep / E) x h x 2 f/et, SwiGLU, and of ... x f/et x h
//   combine     reduce-scatter over et, all-to-all over ep, weighted sum of the k copies
//   shared      an ordinary gated MLP, split over t, beside them
// With biases the first rides in its GEMM; the second, times the router's weight, is added to the
// rows of each expert by operators of its own. Clamps are operators too, in front of SwiGLU.
// Without a gate, f in place of 2 f and a squared ReLU; with a latent size l (LatentMoE), linears
// h x l and l x h on each token around the exchange, which then carries l features a copy.
// Backward: the same in reverse, gradients in place of activations.
// Sources: NVIDIA/Megatron-LM d98e8a64, megatron/core/transformer/moe/{router,token_dispatcher,
// moe_layer,experts,moe_utils}.py; Liu et al. 2025, arXiv:2504.14960, section 3; Lepikhin et al.
// 2020, arXiv:2006.16668 (capacity); NVIDIA 2025, Nemotron 3 (LatentMoE).
#pragma once

#include <string>
#include <vector>

#include "model/transformer.hpp"

namespace windtunnel {

// From the norm before it to the sum over ranks. The tokens are split under tensor parallelism.
std::vector<Operation> expert_operations(const TransformerSlice& slice, const ExpertShape& shape);

// The router (every rank has all of it), the experts, the shared MLP.
std::vector<Tensor> expert_tensors(std::int64_t hidden, const ExpertShape& shape);

// Why the experts cannot be spread like this, or empty.
std::string expert_slice_limits(const ExpertShape& shape, const Slice& slice);

}  // namespace windtunnel

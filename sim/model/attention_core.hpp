// What runs between the linears of attention: positions, norms of queries and keys, and the core of
// scores, softmax and values.
#pragma once

#include "model/transformer.hpp"

namespace windtunnel {

// Rotary position embedding of Q and K in place, one kernel each; its backward rotates back and
// needs nothing kept. Eager, on complex fp32 numbers: cast e + 4, product 8, cast 4 + e.
// Source: torchtitan models/llama/model.py, apply_rotary_emb.
// Scaled ones are operators of their own where others are fused. Forward, in passes over the
// elements: times cosine 2, negated half 1, joined 2, times sine 2, sum 3, copied 2; backward the
// two products 4, negated half 1, joined 2, sum 3, and the empty rest's gradient filled 1 and added
// 3. Cosines and sines of the positions are six small kernels. Source: NVIDIA/Megatron-LM
// megatron/core/models/common/embeddings/rope_utils.py (_apply_rotary_pos_emb_bshd, which
// apply_rotary_pos_emb takes where mscale is not 1).
Operation rotary(const TransformerSlice& slice, const BlockShape& shape);

// Norm of the queries and of the keys over the features of a head, one kernel each way for either;
// two more finish the scales' gradients.
Operation query_key_norm(const TransformerSlice& slice, const BlockShape& shape);

// Scores, softmax and values, as one piece of work, on a/t heads. MFU counts 4 b s s a d forward
// and twice that backward, whatever runs; d is the mean of a key's and a value's features.
// Unfused: the full s x s square as batched GEMMs of b a / t heads, one fused scale-mask-softmax,
// one dropout with a mask of 1 byte, and a copy that puts the heads side by side. Backward in
// reverse, two GEMMs for each, and a copy that joins the gradients of Q, K and V. Source:
// CoreAttention of Megatron-LM, megatron/model/transformer.py. Eager: the chain around an fp32
// softmax in five kernels, (6 e + 17) bytes a score forward and (6 e + 21) backward, of which its
// fp32 result is kept too (4 more a score). Flash: nothing of size s x s moves, causal models run
// half of the square, the backward pass runs five GEMMs to the forward's two (one again), 2.5x.
// Kernels 1 and 3: dO*O, the main one, dQ cast. Source: Dao et al. 2022, arXiv:2205.14135,
// algorithms 1 and 4. Selective recomputation drops what unfused
// attention keeps of size s x s and runs the core again; flash attention keeps nothing of that
// size, so that selective is the same as none.
Operation attention_core(const TransformerSlice& slice, const BlockShape& shape);

}  // namespace windtunnel

// Linears, embeddings and the loss of layers that are split over a tensor-parallel group, as
// autograd functions. With one rank nothing communicates and they are the plain operations.
//
// Hidden states are [s, b, h], sequence first: a rank's s/t tokens under sequence parallelism are
// then one contiguous piece of the whole, as flat collectives want it.
// Collectives mirror sim/model/transformer.hpp: what runs when, and beside what.
// Source: Shoeybi et al. 2019, arXiv:1909.08053; Korthikanti et al. 2022, arXiv:2205.05198.
#pragma once

#include "backend/model/layer_module.hpp"

namespace windtunnel {

bool splits_sequence(const LayerContext& context);

// y = x weight^T + bias; x [..., in], weight [out, in], bias [out] or undefined. Where
// `context.deferred` is set in the backward pass, the gradients of weight and bias go there. A
// weight that requires no gradient is frozen, its bias too: nothing is kept, gathered or computed
// for them.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  LayerContext& context);

// The same with this rank's rows of weight and bias. x is whole, or this rank's tokens under
// sequence parallelism; y has all tokens. The sum of the input gradient runs beside the weight
// gradient, and the gather of x beside the input gradient, unless the weight gradient is deferred.
at::Tensor column_parallel_linear(const at::Tensor& x, const at::Tensor& weight,
                                  const at::Tensor& bias, LayerContext& context);

// The same with this rank's columns of weight, and x split likewise. y is whole, or has this rank's
// tokens under sequence parallelism; the bias is added after the sum.
at::Tensor row_parallel_linear(const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, LayerContext& context);

// x [s, b, h], which every rank computes with in its own way: as it is, or gathered from the ranks'
// s/t tokens under sequence parallelism. Backward: the sum of the ranks' gradients, or this rank's
// tokens of it.
at::Tensor shared_by_ranks(const at::Tensor& x, LayerContext& context);

// The sum of every rank's x [s, b, h], or this rank's s/t tokens of it under sequence parallelism.
// Backward: the gradient as it is, or gathered. Uses up `x`.
at::Tensor sum_over_ranks(const at::Tensor& x, LayerContext& context);

// A term of which every rank has all, to be added before sum_over_ranks: its value enters the sum
// once, and as the gradient after the sum is whole on every rank, so is the term's.
at::Tensor entering_once(const at::Tensor& term, const LayerContext& context);

// The rows of this rank's words [V/t, h] that `ids` [s, b] name, zeros for words of other ranks:
// sum_over_ranks of it is the embedding [s, b, h].
at::Tensor split_embedding(const at::Tensor& ids, const at::Tensor& words, LayerContext& context);

// Mean cross entropy over all tokens: logits [s, b, V/t] of this rank's words, target [s, b]. In
// fp32. A gather of the ranks' maxima, and two sums, b s fp32 each (Megatron-LM reduces the
// maximum, at 1/t of the gather's bytes).
at::Tensor split_cross_entropy(const at::Tensor& logits, const at::Tensor& target,
                               LayerContext& context);

// Row 0 of `x` [s, b, h]: the first token of every sample, on all ranks. Under sequence parallelism
// rank 0 has it and shares it (b h elements), and the ranks' gradients are summed: each must enter
// with its share of the whole, which `shared_loss` sees to.
at::Tensor first_token(const at::Tensor& x, LayerContext& context);
// A loss that every rank computes alike: as it is, but with 1/t of its gradient under sequence
// parallelism, so that gradients of unsplit tensors are shares of a sum there, as they are
// elsewhere.
at::Tensor shared_loss(const at::Tensor& loss, LayerContext& context);

// Sums the ranks' shares of an unsplit tensor's gradient.
void sum_gradient(at::Tensor gradient, LayerContext& context);

}  // namespace windtunnel

// The operations of transformer layers under Megatron-LM's tensor and sequence parallelism.
//
// b = micro-batch, s = sequence, n = b s h elements of a hidden state, e = bytes of an element,
// f = MLP width, a = query heads, g = key-value heads, d = head size, V = vocabulary, t = tensor
// degree, M = n e bytes.
// Without sequence parallelism every rank holds whole hidden states; with it, the s/t tokens of its
// own between the linears, so that what is elementwise there is divided by t as well. Nothing
// communicates at t = 1.
// Software that has a set of operators (operator_sets.hpp) runs those in place of the memory-bound
// kernels that are said here.
// Sources: Shoeybi et al. 2019, arXiv:1909.08053, section 3; Korthikanti et al. 2022,
// arXiv:2205.05198, sections 4 and 5; megatron/core/tensor_parallel/layers.py.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/model.hpp"
#include "model/operation.hpp"

namespace windtunnel {

// Sizes that every operation of a transformer layer depends on. `sequence` is the slice's, or the
// number of patches of an image; `tokens` are those of this rank's part of it (context
// parallelism).
struct TransformerSlice {
  TransformerSlice(const Slice& slice, std::int64_t sequence, std::int64_t hidden_size);

  std::int64_t batch, sequence, tokens, hidden;
  std::int64_t attended;  // tokens of its sample, to which a token attends
  int tensor;
  bool splits_sequence;  // sequence parallel with t > 1
  DType type;
  // Of attention and logits, which TransformerEngine leaves in 16 bits; nothing where that is
  // `type`.
  std::optional<DType> wide_format() const {
    return is_of_operands(type) ? std::optional(DType::Bf16) : std::nullopt;
  }
  double element;  // bytes of an activation element
  AttentionKernel attention;
  Kernels kernels;
  const Software* software;
  int expert, expert_tensor, context;
  ContextParallel context_parallel;
  TokenDispatch expert_dispatch;
  CrossEntropy cross_entropy;

  Bytes whole_hidden() const;  // M: the buffer of every tensor-parallel collective of a block
  Bytes local_hidden() const;  // M, or M / t under sequence parallelism
  double local_elements() const { return local_hidden().value / element; }
};

// Of sequence parallelism: the whole from each rank's part of a sequence, and the sum over ranks of
// which each gets its part. `whole` is what collectives/ counts. Copied where the batch is first.
Pieces gathered(const TransformerSlice& slice, std::string_view name, Bytes whole,
                bool overlaps_next = false);
Pieces scattered(const TransformerSlice& slice, std::string_view name, Bytes whole,
                 bool overlaps_next = false);

// A mixture of experts in place of the MLP (moe.hpp).
struct ExpertShape {
  std::int64_t experts = 0;     // 0: a dense MLP
  std::int64_t per_token = 0;   // that the router picks
  std::int64_t ffn = 0;         // width of one expert
  std::int64_t shared_ffn = 0;  // of the MLP beside them that all tokens pass; 0: none
  // Each expert takes exactly this many times its even part of the tokens: the others are dropped,
  // missing ones padded. 0: none is dropped.
  double capacity_factor = 0;
  // The choice keeps to this many of so many groups of neighbouring experts (token_routing.hpp).
  std::int64_t router_groups = 0, router_groups_per_token = 0;  // 0: to none
  bool router_bias = false;  // a number for each expert that shifts the choice
  bool biased = false;       // both linears of an expert have biases
  bool clamped = false;      // what enters SwiGLU, and 1 is added to its linear half (GPT OSS)
  bool gated = true;         // SwiGLU; else a squared ReLU, fused with the router's weight
  std::int64_t latent = 0;   // width of the tokens that experts get (LatentMoE); 0: hidden
};

// Latent attention in place of one linear onto queries, keys and values (latent_attention.hpp).
struct LatentShape {
  std::int64_t kv_rank = 0;     // width of what keys and values are made of; 0: ordinary attention
  std::int64_t query_rank = 0;  // of what queries are made of; 0: of the hidden state itself
  std::int64_t rope = 0;        // features of a head with a position; all heads share those keys
  std::int64_t value = 0;       // features of a head's values
};

// Low-rank adapters beside frozen linears (adapter.hpp).
struct AdapterShape {
  std::int64_t rank = 0;  // 0: none, and everything is trained
  bool qkv = false, projection = false, mlp_in = false, mlp_out = false;  // where they are
  bool dropout = false;                                                   // of what enters them
};

// Between the linears of an MLP. SwiGLU has a gate: gate and up in one GEMM. A squared ReLU is two
// operators (squared_relu) or one fused kernel, as Megatron-Core compiles it (megatron/core/
// activations.py, `@jit_fuser`).
enum class MlpActivation { Gelu, SwiGlu, SquaredRelu, FusedSquaredRelu };

struct BlockShape {
  std::int64_t hidden = 0, heads = 0, kv_heads = 0, head_size = 0, ffn = 0;
  MlpActivation activation = MlpActivation::Gelu;
  bool causal = false;
  bool dropout = false;  // after softmax, attention output and MLP output
  bool rotary = false;
  bool scaled_rotary = false;  // by a factor (YaRN), which no fused kernel of them takes
  bool post_norm = false;      // norms after the residuals (BERT) instead of before the linears
  bool biased = true;          // biases in the linears and norms (LayerNorm); else RMSNorm
  bool qk_norm = false;        // of each head's query and key, before the rotary positions
  ExpertShape moe;             // gated, without biases
  LatentShape latent;          // head_size is then that of queries and keys
  AdapterShape adapters;

  bool is_gated() const { return activation == MlpActivation::SwiGlu; }
  bool is_frozen() const { return adapters.rank > 0; }
  std::int64_t value_size() const { return latent.kv_rank > 0 ? latent.value : head_size; }
};

// Gate and up enter, their product leaves; `elements` are the product's on this rank.
Operation swiglu(const TransformerSlice& slice, std::string_view name, double elements);

// Y = X A with A split by columns: the input is whole, the output split. Forward: with sequence
// parallelism an all-gather of X. Backward: dX is all-reduced (reduce-scattered) beside the weight
// gradient, and with sequence parallelism X is gathered again beside the input gradient, because
// only its split form was kept (unless Software::keeps_gathered_inputs). Split in halves, nothing
// is left to hide the collectives behind. fp8: the norm in front writes fp8, which is gathered, and
// transposed for the weight gradient.
Operation column_parallel_linear(const TransformerSlice& slice, const GemmNames& names,
                                 std::int64_t in, std::int64_t out);

// Linears beside each other, on the same input (Software::joins_qkv, joins_gate). Their input is
// gathered once and the sum of its gradients over the ranks is one, unless
// Software::linears_communicate_alone.
Operation column_parallel_linears(const TransformerSlice& slice, const GemmNames& names,
                                  std::int64_t in, const std::vector<std::int64_t>& outs);

// Y = X A with all of A on every rank, on this rank's tokens.
Operation replicated_linear(const TransformerSlice& slice, const GemmNames& names, std::int64_t in,
                            std::int64_t out);

// A linear that gets what the norm in front of it returned, as a tensor of its own.
Operation behind_norm(Operation linear);

// Y = X A with A split by rows: the input is split, the output a sum over ranks. Forward:
// all-reduce (reduce-scatter) of Y. Backward: with sequence parallelism an all-gather of dY; the
// weight half uses the gathered dY of the input half. fp8: dY is cast before it is gathered.
Operation row_parallel_linear(const TransformerSlice& slice, const GemmNames& names,
                              std::int64_t in, std::int64_t out);

// LayerNorm or RMSNorm: forward reads and writes n. Backward in one pass (apex FastLayerNorm,
// TransformerEngine) reads dY and X and writes dX; a second kernel finishes the scale's gradient.
Operation norm_operation(const TransformerSlice& slice, std::string_view name);

// RMSNorm; eager, in fp32 whatever the type (e bytes), each operator a kernel. Forward: cast e + 4,
// square 8, mean 4, scaling 8, cast 4 + e, weight 2 e. Backward: weight 2 e twice (dX, dw: 3 e
// more), cast e + 4, scaling 12 and its row sums 8, square 12, sum of the two branches 12, cast 4 +
// e. Source: torchtitan @9dec370 torchtitan/models/norms.py, class RMSNorm.
Operation rms_norm_operation(const TransformerSlice& slice, std::string_view name);

// y = residual + dropout(x). Forward reads two and writes one n, and the mask. Backward applies the
// mask to dY, and adds the gradients of the two branches that meet there.
Operation residual_add(const TransformerSlice& slice, std::string_view name, bool dropout);

// GELU or tanh over `elements` of this rank: forward reads and writes, backward reads X and dY and
// writes dX.
Operation activation_function(const TransformerSlice& slice, std::string_view name,
                              double elements);

// (max(0, x))^2 over `elements` of this rank, two operators that nothing fuses: forward ReLU and
// power 2 e each. Backward power 2 e, product with the exponent 2 e and with dY 3 e, ReLU 3 e.
// Kept: what ReLU returned. Source: NVIDIA/Megatron-LM megatron/model/transformer.py,
// `torch.pow(F.relu(x), 2)`, and dgxc-benchmarking nemotron4-15b-synth.yaml,
// `bias_activation_fusion: false`; PyTorch's derivatives of pow and relu from memory.
Operation squared_relu(const TransformerSlice& slice, double elements);

// The software's own operators of this part of a block, which has one set of them or none.
Pieces operators_of(const TransformerSlice& slice, BlockPart part, Pass pass, double elements);
// They, if there are any, in place of the kernels of `op`, which keeps the same.
Operation with_operators(const TransformerSlice& slice, BlockPart part, double elements,
                         Operation op);

// The halves of a block, each with its norm and its residual.
std::vector<Operation> attention_operations(const TransformerSlice& slice, const BlockShape& shape);
std::vector<Operation> feed_forward_operations(const TransformerSlice& slice,
                                               const BlockShape& shape);
std::vector<Tensor> attention_tensors(const BlockShape& shape);
std::vector<Tensor> feed_forward_tensors(const BlockShape& shape);

// One block; its input and output are hidden states.
LayerWork transformer_block(const TransformerSlice& slice, const BlockShape& shape,
                            const Recomputation& recompute);
std::vector<Tensor> transformer_block_tensors(const BlockShape& shape);
// Of the `block`-th block, counted from 0, of a model of the family llama (llama.cpp).
BlockShape llama_block_shape(const Parameters& parameters, int block);

// Why `value` cannot be split over the ranks, or empty. `what` names it.
std::string split_limit(std::string_view what, long long value, int tensor);
// Heads, key-value heads, MLP width and the tokens of sequence parallelism.
std::string block_slice_limits(const BlockShape& shape, std::int64_t sequence, const Slice& slice);

}  // namespace windtunnel

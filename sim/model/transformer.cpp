#include "model/transformer.hpp"

#include <initializer_list>
#include <utility>

#include "model/adapter.hpp"
#include "model/context_parallel.hpp"
#include "model/latent_attention.hpp"
#include "model/moe.hpp"

namespace windtunnel {
namespace {

constexpr GemmNames kQkv = {"qkv", "qkv.input_gradient", "qkv.weight_gradient"};
constexpr GemmNames kProjection = {"projection", "projection.input_gradient",
                                   "projection.weight_gradient"};
constexpr GemmNames kMlpIn = {"mlp_in", "mlp_in.input_gradient", "mlp_in.weight_gradient"};
constexpr GemmNames kMlpOut = {"mlp_out", "mlp_out.input_gradient", "mlp_out.weight_gradient"};
constexpr GemmNames kLogits = {"logits", "logits.input_gradient", "logits.weight_gradient"};

Work elementwise_kernels(double bytes, int kernels) {
  Work work = elementwise(Bytes(bytes));
  work.kernels = kernels;
  return work;
}

Piece collective(std::string_view name, CollectiveKind kind, Bytes size,
                 bool overlaps_next = false) {
  return {name, LayerCollective{kind, size, overlaps_next}};
}

using Pieces = std::vector<Piece>;

Pieces joined(std::initializer_list<Pieces> parts) {
  Pieces all;
  for (const Pieces& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Pieces pieces_of(const TransformerSlice& slice, BlockPart part, Pass pass, double elements) {
  Pieces pieces;
  for (const BlockOperator& row : slice.software->operators->operators) {
    const double bytes = row.bytes(slice.type);
    if (row.part == part && row.pass == pass && bytes > 0)
      pieces.push_back({row.name, elementwise_kernels(bytes * elements, row.kernels)});
  }
  return pieces;
}

// The software's own operators of this part in place of the kernels of `op`, which keeps the same.
Operation with_operators(const TransformerSlice& slice, BlockPart part, double elements,
                         Operation op) {
  if (!slice.software->operators) return op;
  op.forward = pieces_of(slice, part, Pass::Forward, elements);
  op.backward = op.backward_input = pieces_of(slice, part, Pass::Backward, elements);
  op.backward_weight.clear();
  return op;
}

Operation dropout(const TransformerSlice& slice, std::string_view name) {
  const double n = slice.local_elements();
  const Work work = elementwise_kernels((2 * slice.element + 1) * n, 1);
  return elementwise_operation(name, work, work, Bytes(n));
}

// A learned embedding added to the hidden state: looked up and added (two kernels, 3 e n); its
// gradient is a sum of the hidden state's over the batch.
Operation added_embedding(const TransformerSlice& slice) {
  const double bytes = slice.local_hidden().value;
  Operation op;
  op.forward = {{"embedding.add", elementwise_kernels(3 * bytes, 2)}};
  op.backward_weight = {{"embedding.add", elementwise_kernels(bytes, 1)}};
  op.backward = op.backward_weight;
  return op;
}

// Forward: 8-byte token ids read, rows read, hidden states written. Megatron-LM with t > 1 first
// finds the ids that this rank has (3 kernels), shifts them (2), clears the others (1), and clears
// the others' rows afterwards (1).
// Backward: the gradient table is cleared (e V h / t), rows of dY are read and written to it.
Operation word_lookup(const TransformerSlice& slice, std::int64_t vocab) {
  const bool splits = slice.tensor > 1;
  const Bytes whole = slice.whole_hidden();
  const Bytes ids(8.0 * double(slice.tokens));
  const double table = slice.element * double(vocab) * double(slice.hidden) / slice.tensor;
  const Work forward = {
      .op = OpClass::Embedding, .bytes = ids + 2 * whole, .kernels = splits ? 8 : 1};
  const Work backward = {
      .op = OpClass::Embedding, .bytes = ids + 2 * whole + Bytes(table), .kernels = 2};
  Operation op;
  op.forward = {{"embedding", forward}};
  if (splits) {
    const auto kind =
        slice.splits_sequence ? CollectiveKind::ReduceScatter : CollectiveKind::AllReduce;
    op.forward.push_back(collective("embedding.sum", kind, whole));
  }
  if (slice.splits_sequence)
    op.backward_weight = {collective("embedding.gather", CollectiveKind::AllGather, whole)};
  op.backward_weight.push_back({"embedding.weight_gradient", backward});
  op.backward = op.backward_weight;
  op.saved = ids;
  op.working = Bytes(table);
  return op;
}

// Passes of Megatron-LM's vocab_parallel_cross_entropy over the fp32 logits, in bytes a logit.
// Forward: cast (e + 4), maximum 4, subtraction in place 8, exponential in place 8, sum 4, division
// in place 8. Backward: scaling in place 8, cast (4 + e). The kernels on b s numbers (masks,
// gathers, logarithm) count as launches only: 18 forward and 7 backward in all.
Operation cross_entropy(const TransformerSlice& slice, std::int64_t vocab) {
  const double logits = double(slice.tokens) * double(vocab) / slice.tensor;
  const double cast = slice.element == 4 ? 0 : slice.element + 4;
  const Piece reduce =
      collective("loss.sum", CollectiveKind::AllReduce, Bytes(4.0 * double(slice.tokens)));
  Operation op;
  op.forward.push_back({"loss.maximum", elementwise_kernels((cast + 4) * logits, 2)});
  if (slice.tensor > 1) op.forward.push_back(reduce);
  op.forward.push_back({"loss.exponentials", elementwise_kernels(20 * logits, 13)});
  if (slice.tensor > 1) op.forward.insert(op.forward.end(), {reduce, reduce});
  op.forward.push_back({"loss.normalize", elementwise_kernels(8 * logits, 3)});
  op.backward = {{"loss", elementwise_kernels((8 + cast) * logits, 7)}};
  op.backward_input = op.backward;
  return op;
}

Flops attention_square(const TransformerSlice& slice, const BlockShape& shape) {
  return Flops(2.0 * double(slice.tokens) * double(slice.attended) *
               double(shape.heads * (shape.head_size + shape.value_size())));
}

// FlashAttention-2 is about twice as fast as FlashAttention. Source: Dao 2023, arXiv:2307.08691,
// abstract.
constexpr double kFlash1Efficiency = 0.5;

Operation flash_attention(const TransformerSlice& slice, const BlockShape& shape) {
  const double queries = double(shape.heads * shape.head_size);
  const double outputs = double(shape.heads * shape.value_size());
  const double pairs = double(shape.kv_heads * (shape.head_size + shape.value_size()));
  const double per_feature = slice.element * double(slice.tokens) / slice.tensor;
  const Flops run = attention_square(slice, shape) / (shape.causal ? 2 : 1) / slice.tensor;
  // The fp32 log-sum-exp of each row of scores.
  const double sums = 4 * double(slice.tokens) * double(shape.heads) / slice.tensor;
  const double efficiency = slice.attention == AttentionKernel::Flash1 ? kFlash1Efficiency : 1;
  const bool is_cudnn = slice.attention == AttentionKernel::Cudnn;
  Work forward = {
      .op = OpClass::Attention, .flops = run, .efficiency = efficiency, .is_cudnn = is_cudnn};
  forward.format = slice.wide_format();
  forward.bytes = Bytes(per_feature * (queries + outputs + pairs) + sums);
  Work backward = {.op = OpClass::Attention,
                   .flops = 2.5 * run,
                   .kernels = 3,
                   .efficiency = efficiency,
                   .is_cudnn = is_cudnn};
  backward.format = slice.wide_format();
  backward.bytes = Bytes(per_feature * 2 * (queries + outputs + pairs) + sums);
  // Its output is kept as the projection's input, unless that is cast, or frozen; then an
  // adapter there may keep it, if no dropout has changed it.
  const AdapterShape& adapters = shape.adapters;
  const bool is_kept_there =
      shape.is_frozen() ? adapters.projection && !adapters.dropout : !is_of_operands(slice.type);
  const double own = is_kept_there ? 0 : outputs;
  Operation op = elementwise_operation("attention", forward, backward,
                                       Bytes(per_feature * (queries + pairs + own) + sums));
  op.working = Bytes(per_feature * (queries + outputs + pairs));  // gradients of Q, K, V and O
  return op;
}

Operation unfused_attention(const TransformerSlice& slice, const BlockShape& shape) {
  const std::int64_t s = slice.sequence, d = shape.head_size;
  const std::int64_t batch = slice.batch * (shape.heads / slice.tensor);
  const double e = slice.element, scores = double(batch) * double(s) * double(s);
  const double context = e * double(slice.tokens) * double(shape.heads * d) / slice.tensor;
  const double keys = 2 * e * double(slice.tokens) * double(shape.kv_heads * d) / slice.tensor;
  const DType wide = slice.wide_format().value_or(slice.type);
  Work square = matmul(s, s, d, wide, batch), mix = matmul(s, d, s, wide, batch);
  square.format = mix.format = slice.wide_format();
  // Eager: scaled, masked by a byte, cast, softmax in fp32, cast back.
  const bool eager = slice.attention == AttentionKernel::Eager;
  Pieces softmax = {{"softmax", eager ? elementwise_kernels((6 * e + 17) * scores, 5)
                                      : elementwise_kernels(2 * e * scores, 1)}};
  Pieces softmax_gradient = {{"softmax", eager ? elementwise_kernels((6 * e + 21) * scores, 5)
                                               : elementwise_kernels(3 * e * scores, 1)}};
  Pieces merge = {{"merge_heads", elementwise_kernels(2 * context, 1)}}, unmerge = merge;
  Pieces join = {{"join_gradients", elementwise_kernels(2 * (context + keys), 1)}};
  if (shape.dropout) {
    const Piece dropout = {"attention_dropout", elementwise_kernels((2 * e + 1) * scores, 1)};
    softmax.push_back(dropout);
    softmax_gradient.insert(softmax_gradient.begin(), dropout);
  }
  if (slice.software->operators) {
    softmax = pieces_of(slice, BlockPart::Scores, Pass::Forward, scores);
    softmax_gradient = pieces_of(slice, BlockPart::Scores, Pass::Backward, scores);
    merge = pieces_of(slice, BlockPart::Core, Pass::Forward, context / e);
    unmerge.clear();
    join = pieces_of(slice, BlockPart::Core, Pass::Backward, context / e);
  }
  Operation op;
  op.forward = joined({{{"scores", square}}, softmax, {{"values", mix}}, merge});
  op.backward = joined({unmerge,
                        {{"values.input_gradient", square}, {"values.weight_gradient", mix}},
                        softmax_gradient,
                        {{"scores.query_gradient", mix}, {"scores.key_gradient", mix}},
                        join});
  op.backward_input = op.backward;
  // Autograd keeps what an fp32 softmax returned, and its cast for the values.
  op.droppable = Bytes(((shape.dropout ? 2 * e + 1 : e) + (eager ? 4 : 0)) * scores);
  op.saved = Bytes(context + keys) + op.droppable;
  // Gradients of Q, K, V and O, and of the scores before and after the softmax.
  op.working = Bytes(2 * context + keys + 2 * (eager ? 4 : e) * scores);
  return op;
}

// The sum of dY over the tokens, by a kernel of its own.
Operation bias_gradient(std::string_view name, double elements, double element) {
  Operation op;
  op.backward_weight = {{name, elementwise(Bytes(element * elements))}};
  op.backward = op.backward_weight;
  return op;
}

}  // namespace

TransformerSlice::TransformerSlice(const Slice& slice, std::int64_t sequence_length,
                                   std::int64_t hidden_size)
    : batch(slice.micro_batch),
      sequence(sequence_length),
      tokens(batch * sequence / slice.context),
      hidden(hidden_size),
      attended(slice.attended_length > 0 ? slice.attended_length : sequence),
      tensor(slice.tensor),
      splits_sequence(slice.sequence_parallel && slice.tensor > 1),
      type(slice.type),
      element(activation_bytes(slice.type)),
      attention(slice.attention),
      kernels(slice.kernels),
      software(slice.software),
      expert(slice.expert),
      expert_tensor(slice.expert_tensor),
      context(slice.context),
      context_parallel(slice.context_parallel) {}

Bytes TransformerSlice::whole_hidden() const {
  return Bytes(element * double(tokens) * double(hidden));
}

Bytes TransformerSlice::local_hidden() const {
  return whole_hidden() / (splits_sequence ? tensor : 1);
}

Operation column_parallel_linear(const TransformerSlice& slice, const GemmNames& names,
                                 std::int64_t in, std::int64_t out) {
  Operation op = linear_operation(names, slice.tokens, in, out / slice.tensor, slice.type);
  op.forward_flops = slice.tensor * op.forward_flops;
  op.backward_flops = slice.tensor * op.backward_flops;
  const double inputs = double(slice.tokens) * double(in);
  const Bytes input(slice.element * inputs), operand(bytes_of(slice.type) * inputs);
  const Pieces forward = {op.forward.back()};
  const Pieces dgrad = {op.backward_input.back()}, wgrad = {op.backward_weight.back()};
  const auto gather = [&](bool overlaps_next) {
    if (!slice.splits_sequence) return Pieces{};
    return Pieces{collective("gather_input", CollectiveKind::AllGather, operand, overlaps_next)};
  };
  const auto sum = [&](bool overlaps_next) {
    if (slice.tensor == 1) return Pieces{};
    const CollectiveKind kind =
        slice.splits_sequence ? CollectiveKind::ReduceScatter : CollectiveKind::AllReduce;
    return Pieces{collective("sum_gradient", kind, input, overlaps_next)};
  };
  // The norm in front writes fp8, which is turned round when it is needed. It cannot write fp4,
  // whose scales are those of its whole output.
  Pieces cast_input, cast, transposed;
  if (is_of_operands(slice.type)) cast = {op.backward_input.front()};
  if (slice.type == DType::Fp8) transposed = {transposition("transpose_input", inputs)};
  if (slice.type == DType::Fp4) {
    const double own = slice.splits_sequence ? inputs / slice.tensor : inputs;
    cast_input = {conversion_both_ways(kCastTransposeInput, own, slice.type)};
  }
  op.forward = joined({cast_input, gather(false), forward});
  op.backward = joined({cast, gather(true), dgrad, transposed, sum(true), wgrad});
  op.backward_input = joined({cast, dgrad, sum(false)});
  op.backward_weight = joined({gather(false), transposed, wgrad});
  if (slice.splits_sequence && !slice.software->keeps_gathered_inputs) {
    op.held += op.saved / slice.tensor - op.saved;
    op.saved = op.saved / slice.tensor;
    op.working += input;
  }
  return op;
}

Operation replicated_linear(const TransformerSlice& slice, const GemmNames& names, std::int64_t in,
                            std::int64_t out) {
  const int ranks = slice.splits_sequence ? slice.tensor : 1;
  Operation op = linear_operation(names, slice.tokens / ranks, in, out, slice.type);
  op.forward_flops = ranks * op.forward_flops;
  op.backward_flops = ranks * op.backward_flops;
  return op;
}

Operation row_parallel_linear(const TransformerSlice& slice, const GemmNames& names,
                              std::int64_t in, std::int64_t out) {
  Operation op = linear_operation(names, slice.tokens, in / slice.tensor, out, slice.type);
  op.forward_flops = slice.tensor * op.forward_flops;
  op.backward_flops = slice.tensor * op.backward_flops;
  if (slice.tensor == 1) return op;
  const double inputs = double(slice.tokens) * double(in) / slice.tensor;
  const double outputs = double(slice.tokens) * double(out);
  const Bytes output(slice.element * outputs), operand(bytes_of(slice.type) * outputs);
  if (!slice.splits_sequence) {
    op.forward.push_back(collective("sum_output", CollectiveKind::AllReduce, output));
    return op;
  }
  const Pieces forward = {op.forward.back()};
  const Pieces dgrad = {op.backward_input.back()}, wgrad = {op.backward_weight.back()};
  const Pieces sum = {collective("sum_output", CollectiveKind::ReduceScatter, output)};
  const Pieces gather = {collective("gather_gradient", CollectiveKind::AllGather, operand)};
  Pieces cast_input, cast_gradient, transposed;
  if (slice.type == DType::Fp8) {
    cast_input = {conversion(kCastInput, inputs, slice.type)};
    cast_gradient = {conversion(kCastGradient, outputs / slice.tensor, slice.type)};
    transposed = {transposition("transpose_gradient", outputs),
                  transposition("transpose_input", inputs)};
  }
  if (slice.type == DType::Fp4) {
    cast_input = {conversion_both_ways(kCastTransposeInput, inputs, slice.type)};
    cast_gradient = {
        conversion_both_ways(kCastTransposeGradient, outputs / slice.tensor, slice.type)};
  }
  op.forward = joined({cast_input, forward, sum});
  op.backward_input = joined({cast_gradient, gather, dgrad});
  op.backward_weight = joined({transposed, wgrad});
  op.backward = joined({op.backward_input, op.backward_weight});
  return op;
}

Operation norm_operation(const TransformerSlice& slice, std::string_view name) {
  const double bytes = slice.local_hidden().value;
  return with_operators(slice, BlockPart::Norm, slice.local_elements(),
                        elementwise_operation(name, elementwise_kernels(2 * bytes, 1),
                                              elementwise_kernels(3 * bytes, 2),
                                              Bytes(slice.software->norm_copies * bytes)));
}

Operation rms_norm_operation(const TransformerSlice& slice, std::string_view name) {
  if (slice.kernels != Kernels::Eager) return norm_operation(slice, name);
  const double n = slice.local_elements(), e = slice.element;
  return elementwise_operation(name, elementwise_kernels((4 * e + 28) * n, 7),
                               elementwise_kernels((9 * e + 52) * n, 12), Bytes((2 * e + 4) * n));
}

Operation rotary(const TransformerSlice& slice, const BlockShape& shape) {
  const bool eager = slice.kernels != Kernels::Fused;
  const double elements =
      double(slice.tokens) * double((shape.heads + shape.kv_heads) * shape.head_size);
  const double bytes = eager ? 2 * slice.element + 16 : 2 * slice.element;
  const Work work = elementwise_kernels(bytes * elements / slice.tensor, eager ? 6 : 2);
  return elementwise_operation("rotary", work, work, Bytes(0));
}

Operation query_key_norm(const TransformerSlice& slice, const BlockShape& shape) {
  const double elements =
      double(slice.tokens) * double((shape.heads + shape.kv_heads) * shape.head_size);
  const double bytes = slice.element * elements / slice.tensor;
  return elementwise_operation("query_key_norm", elementwise_kernels(2 * bytes, 2),
                               elementwise_kernels(3 * bytes, 4),
                               Bytes(slice.software->norm_copies * bytes));
}

Operation attention_core(const TransformerSlice& slice, const BlockShape& shape) {
  const Flops square = attention_square(slice, shape);
  Operation op =
      is_fused(slice.attention) ? flash_attention(slice, shape) : unfused_attention(slice, shape);
  if (slice.context > 1) op = context_parallel_attention(slice, shape, std::move(op));
  op.forward_flops = square;
  op.backward_flops = 2 * square;
  op.causal_saving = (shape.causal ? 1.5 : 0) * square;  // half of 1 + 2
  return op;
}

// Without dropout: 3 e n forward, and backward the sum of the two branches' gradients, 3 e n.
// With it the mask is written forward, and backward dY is masked first: 2 e n + n.
Operation residual_add(const TransformerSlice& slice, std::string_view name, bool dropout) {
  const double n = slice.local_elements(), e = slice.element;
  Operation op = dropout ? elementwise_operation(name, elementwise_kernels((3 * e + 1) * n, 1),
                                                 elementwise_kernels((5 * e + 1) * n, 2), Bytes(n))
                         : elementwise_operation(name, elementwise_kernels(3 * e * n, 1),
                                                 elementwise_kernels(3 * e * n, 1), Bytes(0));
  return with_operators(slice, BlockPart::Branch, n, std::move(op));
}

Operation activation_function(const TransformerSlice& slice, std::string_view name,
                              double elements) {
  const double bytes = slice.element * elements;
  Operation op = elementwise_operation(name, elementwise_kernels(2 * bytes, 1),
                                       elementwise_kernels(3 * bytes, 1), Bytes(bytes));
  op.working = Bytes(2 * bytes);
  return op;
}

// Forward 3 e f. Backward reads dY, gate and up and writes two gradients: 5 e f.
// Eager: SiLU and the product apart, 2 + 3 forward, 4 + 2 (the product's other factor) + 3
// backward, and what SiLU returned is kept too.
Operation swiglu(const TransformerSlice& slice, std::string_view name, double elements) {
  const double bytes = slice.element * elements;
  const bool eager = slice.kernels != Kernels::Fused;
  const double kept = slice.software->fp8_gate               ? 2 * elements
                      : slice.software->fused_gate && !eager ? 2 * bytes
                                                             : 3 * bytes;
  Operation op = elementwise_operation(
      name, elementwise_kernels((eager ? 5 : 3) * bytes, eager ? 2 : 1),
      elementwise_kernels((eager ? 9 : 5) * bytes, eager ? 3 : 1), Bytes(kept));
  op.working = Bytes(3 * bytes);
  return op;
}

Operation squared_relu(const TransformerSlice& slice, double elements) {
  const double bytes = slice.element * elements;
  Operation op = elementwise_operation("squared_relu", elementwise_kernels(4 * bytes, 2),
                                       elementwise_kernels(10 * bytes, 4), Bytes(bytes));
  op.working = Bytes(3 * bytes);
  return op;
}

LayerWork transformer_block(const TransformerSlice& slice, const BlockShape& shape,
                            Recompute recompute) {
  const std::int64_t width = shape.heads * shape.head_size;
  const std::int64_t qkv = width + 2 * shape.kv_heads * shape.head_size;
  std::vector<Operation> operations;
  const auto add = [&](Operation op) { operations.push_back(std::move(op)); };
  const auto norm = [&](std::string_view name) {
    return shape.biased ? norm_operation(slice, name) : rms_norm_operation(slice, name);
  };

  if (!shape.post_norm) add(norm("attention_norm"));
  // A set of operators has the biases where it has what follows them.
  const auto add_bias = [&](std::string_view name, double elements) {
    if (shape.biased && !slice.software->operators)
      add(bias_gradient(name, elements, slice.element));
  };
  const AdapterShape& adapters = shape.adapters;
  const auto add_linear = [&](const GemmNames& names, std::int64_t in, std::int64_t out,
                              LinearSplit split, bool has_adapter) {
    Operation op = split == LinearSplit::Columns ? column_parallel_linear(slice, names, in, out)
                                                 : row_parallel_linear(slice, names, in, out);
    add(shape.is_frozen() ? frozen(std::move(op), slice.type) : std::move(op));
    if (has_adapter) add(adapter(slice, adapters, in, out, split));
  };
  const double tokens = double(slice.tokens);
  if (shape.latent.kv_rank > 0) {
    for (Operation& op : latent_operations(slice, shape)) add(std::move(op));
  } else {
    add_linear(kQkv, shape.hidden, qkv, LinearSplit::Columns, adapters.qkv);
    const double features = tokens * double(qkv) / slice.tensor;
    add_bias("qkv.bias_gradient", features);
    add(with_operators(slice, BlockPart::Qkv, features, {}));
    if (shape.qk_norm) add(query_key_norm(slice, shape));
    if (shape.rotary) add(rotary(slice, shape));
  }
  add(attention_core(slice, shape));
  add_linear(kProjection, shape.heads * shape.value_size(), shape.hidden, LinearSplit::Rows,
             adapters.projection);
  add_bias("projection.bias_gradient", slice.local_elements());
  add(residual_add(slice, "attention_residual", shape.dropout));
  if (shape.post_norm) add(norm("attention_norm"));

  if (!shape.post_norm) add(norm("mlp_norm"));
  if (shape.moe.experts > 0) {
    for (Operation& op : expert_operations(slice, shape.moe)) add(std::move(op));
  } else {
    const std::int64_t mlp_in = (shape.is_gated() ? 2 : 1) * shape.ffn;
    const double width_of_rank = tokens * double(shape.ffn) / slice.tensor;
    add_linear(kMlpIn, shape.hidden, mlp_in, LinearSplit::Columns, adapters.mlp_in);
    add_bias("mlp_in.bias_gradient", tokens * double(mlp_in) / slice.tensor);
    switch (shape.activation) {
      case MlpActivation::Gelu:
        add(with_operators(slice, BlockPart::Mlp, width_of_rank,
                           activation_function(slice, "gelu", width_of_rank)));
        break;
      case MlpActivation::SwiGlu:
        add(swiglu(slice, "swiglu", width_of_rank));
        break;
      case MlpActivation::SquaredRelu:
        add(squared_relu(slice, width_of_rank));
        break;
    }
    add_linear(kMlpOut, shape.ffn, shape.hidden, LinearSplit::Rows, adapters.mlp_out);
    add_bias("mlp_out.bias_gradient", slice.local_elements());
  }
  add(residual_add(slice, "mlp_residual", shape.dropout));
  if (shape.post_norm) add(norm("mlp_norm"));

  return assembled_layer(operations, LayerKind::Block, slice.local_hidden(), slice.local_hidden(),
                         recompute);
}

std::vector<Tensor> transformer_block_tensors(const BlockShape& shape) {
  const std::int64_t width = shape.heads * shape.head_size;
  const std::int64_t qkv = width + 2 * shape.kv_heads * shape.head_size;
  const std::int64_t mlp_in = (shape.is_gated() ? 2 : 1) * shape.ffn;
  std::vector<Tensor> tensors;
  // The bias of a row-parallel linear is added after the sum over ranks: every rank has all of it.
  const auto add = [&](const std::string& name, std::int64_t weight, std::int64_t bias, bool split,
                       bool split_bias) {
    tensors.push_back({name + ".weight", weight, split});
    if (shape.biased) tensors.push_back({name + ".bias", bias, split_bias});
  };
  const auto norm = [&](const std::string& name) {
    add(name, shape.hidden, shape.hidden, false, false);
  };
  if (!shape.post_norm) norm("attention_norm");
  if (shape.latent.kv_rank > 0) {
    for (Tensor& tensor : latent_tensors(shape)) tensors.push_back(std::move(tensor));
  } else {
    add("qkv", qkv * shape.hidden, qkv, true, true);
    if (shape.qk_norm)
      for (const char* name : {"query_norm.weight", "key_norm.weight"})
        tensors.push_back({name, shape.head_size, false});
  }
  add("projection", shape.hidden * shape.heads * shape.value_size(), shape.hidden, true, false);
  norm(shape.post_norm ? "attention_norm" : "mlp_norm");
  if (shape.moe.experts > 0) {
    for (Tensor& tensor : expert_tensors(shape.hidden, shape.moe))
      tensors.push_back(std::move(tensor));
  } else {
    add("mlp_in", mlp_in * shape.hidden, mlp_in, true, true);
    add("mlp_out", shape.hidden * shape.ffn, shape.hidden, true, false);
  }
  if (shape.post_norm) norm("mlp_norm");
  if (!shape.is_frozen()) return tensors;
  for (Tensor& tensor : tensors) tensor.frozen = true;
  const AdapterShape& adapters = shape.adapters;
  const auto adapt = [&](bool is_there, const char* name, std::int64_t in, std::int64_t out) {
    if (!is_there) return;
    for (Tensor& tensor : adapter_tensors(name, adapters.rank, in, out))
      tensors.push_back(std::move(tensor));
  };
  adapt(adapters.qkv, "qkv", shape.hidden, qkv);
  adapt(adapters.projection, "projection", width, shape.hidden);
  adapt(adapters.mlp_in, "mlp_in", shape.hidden, mlp_in);
  adapt(adapters.mlp_out, "mlp_out", shape.ffn, shape.hidden);
  return tensors;
}

LayerWork token_embedding(const TransformerSlice& slice, const EmbeddingShape& shape) {
  std::vector<Operation> operations = {word_lookup(slice, shape.vocab)};
  if (shape.frozen) {
    operations.front() = frozen(std::move(operations.front()), slice.type);
    operations.front().working = Bytes(0);  // the table's gradient
  }
  for (int i = 0; i < shape.added; ++i) operations.push_back(added_embedding(slice));
  if (shape.norm) operations.push_back(norm_operation(slice, "embedding_norm"));
  if (shape.dropout) operations.push_back(dropout(slice, "embedding_dropout"));
  return assembled_layer(operations, LayerKind::Embedding, Bytes(0), slice.local_hidden(),
                         Recompute::None);
}

std::vector<Operation> vocabulary_loss(const TransformerSlice& slice, std::int64_t vocab,
                                       bool is_frozen) {
  TransformerSlice wide = slice;
  wide.type = slice.wide_format().value_or(slice.type);
  Operation logits = column_parallel_linear(wide, kLogits, slice.hidden, vocab);
  for (std::vector<Piece>* pieces :
       {&logits.forward, &logits.backward, &logits.backward_input, &logits.backward_weight})
    for (Piece& piece : *pieces)
      if (auto* work = std::get_if<Work>(&piece.what)) work->format = slice.wide_format();
  return {is_frozen ? frozen(logits, slice.type) : logits, cross_entropy(slice, vocab)};
}

void set_logits(const TransformerSlice& slice, std::int64_t vocab, LayerWork& work) {
  const Software& software = *slice.software;
  const double logits =
      double(slice.tokens) * double(vocab) / (software.gathers_logits ? 1 : slice.tensor);
  work.logits = Bytes(software.logit_bytes_kept * logits);
  work.working = Bytes((software.logit_bytes_most - software.logit_bytes_kept) * logits);
}

LayerWork language_head(const TransformerSlice& slice, std::int64_t vocab, bool is_frozen) {
  std::vector<Operation> operations = {norm_operation(slice, "final_norm")};
  for (Operation& op : vocabulary_loss(slice, vocab, is_frozen))
    operations.push_back(std::move(op));
  LayerWork work =
      assembled_layer(operations, LayerKind::Head, slice.local_hidden(), Bytes(0), Recompute::None);
  set_logits(slice, vocab, work);
  return work;
}

std::string split_limit(std::string_view what, long long value, int tensor) {
  if (value % tensor == 0) return {};
  return "tensor parallelism " + std::to_string(tensor) + " does not divide the " +
         std::to_string(value) + " " + std::string(what);
}

// Source of the padding: megatron/training/tokenizer/tokenizer.py, _vocab_size_with_padding with
// --make-vocab-size-divisible-by 128.
std::string vocabulary_limit(long long vocab, int tensor) {
  const std::string why = split_limit("words of the vocabulary", vocab, tensor);
  if (why.empty()) return {};
  const long long multiple = 128LL * tensor;
  const long long padded = (vocab + multiple - 1) / multiple * multiple;
  return why + "; Megatron-LM pads it to " + std::to_string(padded);
}

namespace {

// Empty where the software's set of operators, if it has one, is of such blocks.
std::string operators_limit(const BlockShape& shape, const Slice& slice) {
  const bool is_counted = shape.biased && shape.dropout && shape.moe.experts == 0 &&
                          shape.activation == MlpActivation::Gelu && !is_fused(slice.attention);
  if (!slice.software->operators || is_counted) return {};
  return "the operators of '" + std::string(slice.software->name) +
         "' are counted of blocks with biases, GELU, dropout and unfused attention";
}

}  // namespace

std::string block_slice_limits(const BlockShape& shape, std::int64_t sequence, const Slice& slice) {
  const std::string whys[] = {
      operators_limit(shape, slice),
      slice.attended_length > 0 && !is_fused(slice.attention)
          ? "attention to other tokens than those of a sequence (attended_length) is fused"
          : std::string(),
      split_limit("attention heads", shape.heads, slice.tensor),
      split_limit("key-value heads", shape.kv_heads, slice.tensor),
      shape.moe.experts > 0 ? expert_slice_limits(shape.moe, slice)
                            : split_limit("features of the MLP", shape.ffn, slice.tensor),
      split_limit("ranks of the adapters (lora_rank)", shape.adapters.rank, slice.tensor),
      context_slice_limits(shape, sequence, slice),
      slice.sequence_parallel ? split_limit("tokens of a sequence (sequence parallelism)",
                                            sequence / slice.context, slice.tensor)
                              : std::string()};
  for (const std::string& why : whys)
    if (!why.empty()) return why;
  return {};
}

}  // namespace windtunnel

#include "model/attention_core.hpp"

#include "model/norm_kernels.hpp"

#include <utility>

#include "model/context_parallel.hpp"

namespace windtunnel {
namespace {

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
  op.input = Bytes(per_feature * (queries + pairs));
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
    softmax = operators_of(slice, BlockPart::Scores, Pass::Forward, scores);
    softmax_gradient = operators_of(slice, BlockPart::Scores, Pass::Backward, scores);
    merge = operators_of(slice, BlockPart::Core, Pass::Forward, context / e);
    unmerge.clear();
    join = operators_of(slice, BlockPart::Core, Pass::Backward, context / e);
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
  op.input = Bytes(context + keys);
  op.saved = op.input + op.droppable;
  // Gradients of Q, K, V and O, and of the scores before and after the softmax.
  op.working = Bytes(2 * context + keys + 2 * (eager ? 4 : e) * scores);
  return op;
}

}  // namespace

Operation rotary(const TransformerSlice& slice, const BlockShape& shape) {
  const double elements = double(slice.tokens) *
                          double((shape.heads + shape.kv_heads) * shape.head_size) / slice.tensor;
  if (shape.scaled_rotary && slice.kernels == Kernels::Fused) {
    const double bytes = slice.element * elements;
    return elementwise_operation("rotary", elementwise_kernels(12 * bytes, 2 * (6 + 6)),
                                 elementwise_kernels(14 * bytes, 2 * 7), Bytes(0));
  }
  const auto pass = [&](double compiled) {
    if (slice.kernels == Kernels::Compiled)
      return elementwise_kernels(compiled * 2 * slice.element * elements, 2);
    if (slice.kernels == Kernels::Fused)
      return elementwise_kernels(2 * slice.element * elements, 2);
    return elementwise_kernels(kMixedTypes * (2 * slice.element + 16) * elements, 6);
  };
  return elementwise_operation("rotary", pass(kCompiledRotary.forward),
                               pass(kCompiledRotary.backward), Bytes(0));
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

}  // namespace windtunnel

#include "model/transformer.hpp"

#include <numeric>
#include <utility>

#include "model/adapter.hpp"
#include "model/attention_core.hpp"
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

Piece arrangement(std::string_view name, Bytes whole) {
  return {name, elementwise_kernels(2 * whole.value, 1)};
}

// One linear's input gradient added to another's.
Piece added_gradients(Bytes input) {
  return {"add_gradients", elementwise_kernels(3 * input.value, 1)};
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
      context_parallel(slice.context_parallel),
      expert_dispatch(slice.expert_dispatch),
      cross_entropy(slice.cross_entropy) {}

Bytes TransformerSlice::whole_hidden() const {
  return Bytes(element * double(tokens) * double(hidden));
}

Bytes TransformerSlice::local_hidden() const {
  return whole_hidden() / (splits_sequence ? tensor : 1);
}

Pieces gathered(const TransformerSlice& slice, std::string_view name, Bytes whole,
                bool overlaps_next) {
  if (!slice.software->batch_first)
    return {collective(name, CollectiveKind::AllGather, whole, overlaps_next)};
  return {collective(name, CollectiveKind::AllGather, whole), arrangement(kArrangeGathered, whole)};
}

Pieces scattered(const TransformerSlice& slice, std::string_view name, Bytes whole,
                 bool overlaps_next) {
  if (!slice.software->batch_first)
    return {collective(name, CollectiveKind::ReduceScatter, whole, overlaps_next)};
  return {arrangement(kArrangeScattered, whole),
          collective(name, CollectiveKind::ReduceScatter, whole)};
}

Operation column_parallel_linear(const TransformerSlice& slice, const GemmNames& names,
                                 std::int64_t in, std::int64_t out) {
  return column_parallel_linears(slice, names, in, {out});
}

Operation column_parallel_linears(const TransformerSlice& slice, const GemmNames& names,
                                  std::int64_t in, const std::vector<std::int64_t>& outs) {
  const std::int64_t out = std::accumulate(outs.begin(), outs.end(), std::int64_t(0));
  // All of them as one says what is kept and cast; each has GEMMs of its own.
  Operation op = linear_operation(names, slice.tokens, in, out / slice.tensor, slice.type);
  op.outputs.clear();
  op.forward_flops = slice.tensor * op.forward_flops;
  op.backward_flops = slice.tensor * op.backward_flops;
  const double inputs = double(slice.tokens) * double(in);
  const Bytes input(slice.element * inputs), operand(bytes_of(slice.type) * inputs);
  // Software that keeps gathered inputs has gathered them once, before the linears.
  const bool alone = slice.software->linears_communicate_alone &&
                     !(slice.splits_sequence && slice.software->keeps_gathered_inputs);
  const auto gather = [&](bool overlaps_next) {
    return slice.splits_sequence ? gathered(slice, "gather_input", operand, overlaps_next)
                                 : Pieces{};
  };
  const auto gather_again = [&](bool overlaps_next) {
    return slice.software->keeps_gathered_inputs ? Pieces{} : gather(overlaps_next);
  };
  const auto sum = [&](bool overlaps_next) {
    if (slice.tensor == 1) return Pieces{};
    if (slice.splits_sequence) return scattered(slice, "sum_gradient", input, overlaps_next);
    return Pieces{collective("sum_gradient", CollectiveKind::AllReduce, input, overlaps_next)};
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
  op.forward = cast_input;
  op.backward = op.backward_input = cast;
  op.backward_weight.clear();
  // Linears that communicate together; gradients of several of them, and then of several groups,
  // are added up.
  std::vector<std::vector<std::int64_t>> groups = {outs};
  if (alone) {
    groups.clear();
    for (const std::int64_t one : outs) groups.push_back({one});
  }
  for (const std::vector<std::int64_t>& group : groups) {
    Pieces gemms, dgrads, wgrads;
    for (const std::int64_t features : group) {
      const Operation one =
          linear_operation(names, slice.tokens, in, features / slice.tensor, slice.type);
      op.outputs.push_back(one.outputs.front());
      gemms.push_back(one.forward.back());
      wgrads.push_back(one.backward_weight.back());
      const bool is_first = dgrads.empty();
      dgrads.push_back(one.backward_input.back());
      if (!is_first) dgrads.push_back(added_gradients(input));
    }
    append(op.forward, joined({gather(false), gemms}));
    append(op.backward, joined({gather_again(true), dgrads, transposed,
                                sum(slice.software->overlaps_sums), wgrads}));
    append(op.backward_input, joined({dgrads, sum(false)}));
    append(op.backward_weight, joined({gather_again(false), transposed, wgrads}));
  }
  const Pieces added(groups.size() - 1,
                     added_gradients(input / (slice.splits_sequence ? slice.tensor : 1)));
  append(op.backward, added);
  append(op.backward_input, added);
  op.keeps_gathered = slice.splits_sequence && slice.software->keeps_gathered_inputs;
  if (slice.splits_sequence && !op.keeps_gathered) {
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

Operation behind_norm(Operation linear) {
  linear.made_by = RecomputeModule::Layernorm;
  linear.made = linear.saved;
  return linear;
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
  const Pieces sum = scattered(slice, "sum_output", output);
  const Pieces gather = gathered(slice, "gather_gradient", operand);
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
  const NormKernels kernels = slice.kernels == Kernels::Eager      ? kPyTorchNorms
                              : slice.kernels == Kernels::Compiled ? kCompiledNorms
                                                                   : slice.software->norms;
  return with_operators(
      slice, BlockPart::Norm, slice.local_elements(),
      elementwise_operation(name, elementwise_kernels(kernels.forward * 2 * bytes, 1),
                            elementwise_kernels(kernels.backward * 3 * bytes, 2),
                            Bytes(slice.software->norm_copies * bytes)));
}

Operation rms_norm_operation(const TransformerSlice& slice, std::string_view name) {
  if (slice.kernels != Kernels::Eager) return norm_operation(slice, name);
  const double n = slice.local_elements(), e = slice.element;
  return elementwise_operation(name, elementwise_kernels(kMixedTypes * (4 * e + 28) * n, 7),
                               elementwise_kernels(kMixedTypes * (9 * e + 52) * n, 12),
                               Bytes((2 * e + 4) * n));
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
  const bool eager = !is_chain_fused(slice.kernels);
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

Pieces operators_of(const TransformerSlice& slice, BlockPart part, Pass pass, double elements) {
  Pieces pieces;
  for (const BlockOperator& row : slice.software->operators->operators) {
    const double bytes = row.bytes(slice.type);
    if (row.part == part && row.pass == pass && bytes > 0)
      pieces.push_back({row.name, elementwise_kernels(bytes * elements, row.kernels)});
  }
  return pieces;
}

Operation with_operators(const TransformerSlice& slice, BlockPart part, double elements,
                         Operation op) {
  if (!slice.software->operators) return op;
  op.forward = operators_of(slice, part, Pass::Forward, elements);
  op.backward = op.backward_input = operators_of(slice, part, Pass::Backward, elements);
  op.backward_weight.clear();
  return op;
}

namespace {

// A linear of a block, frozen with an adapter beside it where the block has one there.
void add_linear(const TransformerSlice& slice, const AdapterShape& adapters, const GemmNames& names,
                std::int64_t in, const std::vector<std::int64_t>& outs, LinearSplit split,
                bool has_adapter, std::vector<Operation>& operations) {
  const std::int64_t out = std::accumulate(outs.begin(), outs.end(), std::int64_t(0));
  Operation op = split == LinearSplit::Columns ? column_parallel_linears(slice, names, in, outs)
                                               : row_parallel_linear(slice, names, in, out);
  operations.push_back(adapters.rank > 0 ? frozen(std::move(op), slice.type) : std::move(op));
  if (has_adapter) operations.push_back(adapter(slice, adapters, in, out, split));
}

// A set of operators has the biases where it has what follows them.
void add_bias(const TransformerSlice& slice, const BlockShape& shape, std::string_view name,
              double elements, std::vector<Operation>& operations) {
  if (shape.biased && !slice.software->operators)
    operations.push_back(bias_gradient(name, elements, slice.element));
}

Operation block_norm(const TransformerSlice& slice, const BlockShape& shape,
                     std::string_view name) {
  return shape.biased ? norm_operation(slice, name) : rms_norm_operation(slice, name);
}

// `apart`: no linear's kernel has it.
Operation norm_in_front(const TransformerSlice& slice, const BlockShape& shape,
                        std::string_view name, bool apart) {
  Operation norm = block_norm(slice, shape, name);
  if (apart) norm.modules.add(RecomputeModule::Layernorm);
  return norm;
}

Operation mlp_activation(const TransformerSlice& slice, MlpActivation activation, double width) {
  switch (activation) {
    case MlpActivation::Gelu:
      return with_operators(slice, BlockPart::Mlp, width,
                            activation_function(slice, "gelu", width));
    case MlpActivation::SwiGlu:
      return swiglu(slice, "swiglu", width);
    case MlpActivation::SquaredRelu:
      return squared_relu(slice, width);
    case MlpActivation::FusedSquaredRelu:
      return activation_function(slice, "squared_relu", width);
  }
  SIM_CHECK(false, "an MLP of no activation");
}

// A weight and, in biased blocks, its bias. The bias of a row-parallel linear is added after the
// sum over ranks: every rank has all of it.
void add_tensors(const BlockShape& shape, const std::string& name, std::int64_t weight,
                 std::int64_t bias, bool split, bool split_bias, std::vector<Tensor>& tensors) {
  tensors.push_back({name + ".weight", weight, split});
  if (shape.biased) tensors.push_back({name + ".bias", bias, split_bias});
}

void add_norm_tensors(const BlockShape& shape, const std::string& name,
                      std::vector<Tensor>& tensors) {
  add_tensors(shape, name, shape.hidden, shape.hidden, false, false, tensors);
}

std::int64_t qkv_features(const BlockShape& shape) {
  return (shape.heads + 2 * shape.kv_heads) * shape.head_size;
}

std::int64_t mlp_in_features(const BlockShape& shape) {
  return (shape.is_gated() ? 2 : 1) * shape.ffn;
}

// Widths of the linears onto queries, keys and values, and of those into SwiGLU.
std::vector<std::int64_t> qkv_widths(const TransformerSlice& slice, const BlockShape& shape) {
  if (slice.software->joins_qkv) return {qkv_features(shape)};
  const std::int64_t keys = shape.kv_heads * shape.head_size;
  return {shape.heads * shape.head_size, keys, keys};
}

std::vector<std::int64_t> mlp_in_widths(const TransformerSlice& slice, const BlockShape& shape) {
  if (slice.software->joins_gate || !shape.is_gated()) return {mlp_in_features(shape)};
  return {shape.ffn, shape.ffn};
}

}  // namespace

std::vector<Operation> attention_operations(const TransformerSlice& slice,
                                            const BlockShape& shape) {
  const std::int64_t qkv = qkv_features(shape);
  const AdapterShape& adapters = shape.adapters;
  std::vector<Operation> operations;
  const auto add = [&](Operation op) { operations.push_back(std::move(op)); };
  const bool is_latent = shape.latent.kv_rank > 0;
  if (!shape.post_norm) add(norm_in_front(slice, shape, "attention_norm", is_latent));
  Operation core = attention_core(slice, shape);
  core.modules.add(RecomputeModule::CoreAttn);
  if (is_latent) {
    for (Operation& op : latent_operations(slice, shape)) add(std::move(op));
    core.made_by = RecomputeModule::MlaUpProj;
    core.made = core.input;
  } else {
    add_linear(slice, adapters, kQkv, shape.hidden, qkv_widths(slice, shape), LinearSplit::Columns,
               adapters.qkv, operations);
    const double features = double(slice.tokens) * double(qkv) / slice.tensor;
    add_bias(slice, shape, "qkv.bias_gradient", features, operations);
    add(with_operators(slice, BlockPart::Qkv, features, {}));
    if (shape.qk_norm) add(query_key_norm(slice, shape));
    if (shape.rotary) add(rotary(slice, shape));
  }
  add(std::move(core));
  add_linear(slice, adapters, kProjection, shape.heads * shape.value_size(), {shape.hidden},
             LinearSplit::Rows, adapters.projection, operations);
  add_bias(slice, shape, "projection.bias_gradient", slice.local_elements(), operations);
  add(residual_add(slice, "attention_residual", shape.dropout));
  if (shape.post_norm) add(block_norm(slice, shape, "attention_norm"));
  return operations;
}

std::vector<Operation> feed_forward_operations(const TransformerSlice& slice,
                                               const BlockShape& shape) {
  const AdapterShape& adapters = shape.adapters;
  std::vector<Operation> operations;
  const auto add = [&](Operation op) { operations.push_back(std::move(op)); };
  const bool has_experts = shape.moe.experts > 0;
  if (!shape.post_norm) add(norm_in_front(slice, shape, "mlp_norm", has_experts));
  if (has_experts) {
    for (Operation& op : expert_operations(slice, shape.moe)) add(std::move(op));
  } else {
    const std::int64_t mlp_in = mlp_in_features(shape);
    const double tokens = double(slice.tokens);
    add_linear(slice, adapters, kMlpIn, shape.hidden, mlp_in_widths(slice, shape),
               LinearSplit::Columns, adapters.mlp_in, operations);
    add_bias(slice, shape, "mlp_in.bias_gradient", tokens * double(mlp_in) / slice.tensor,
             operations);
    add(mlp_activation(slice, shape.activation, tokens * double(shape.ffn) / slice.tensor));
    add_linear(slice, adapters, kMlpOut, shape.ffn, {shape.hidden}, LinearSplit::Rows,
               adapters.mlp_out, operations);
    // Only the residual stream takes it.
    if (slice.kernels == Kernels::Compiled && !adapters.mlp_out)
      operations.back().needs_output = false;
    add_bias(slice, shape, "mlp_out.bias_gradient", slice.local_elements(), operations);
    for (Operation& op : operations) op.modules.add(RecomputeModule::Mlp);
  }
  add(residual_add(slice, "mlp_residual", shape.dropout));
  if (shape.post_norm) add(block_norm(slice, shape, "mlp_norm"));
  return operations;
}

LayerWork transformer_block(const TransformerSlice& slice, const BlockShape& shape,
                            const Recomputation& recompute) {
  std::vector<Operation> operations = attention_operations(slice, shape);
  for (Operation& op : feed_forward_operations(slice, shape)) operations.push_back(std::move(op));
  return assembled_layer(operations, LayerKind::Block, slice.local_hidden(), slice.local_hidden(),
                         recompute);
}

std::vector<Tensor> attention_tensors(const BlockShape& shape) {
  std::vector<Tensor> tensors;
  if (!shape.post_norm) add_norm_tensors(shape, "attention_norm", tensors);
  if (shape.latent.kv_rank > 0) {
    for (Tensor& tensor : latent_tensors(shape)) tensors.push_back(std::move(tensor));
  } else {
    const std::int64_t qkv = qkv_features(shape);
    add_tensors(shape, "qkv", qkv * shape.hidden, qkv, true, true, tensors);
    if (shape.qk_norm)
      for (const char* name : {"query_norm.weight", "key_norm.weight"})
        tensors.push_back({.name = name, .numel = shape.head_size, .of_heads = true});
  }
  add_tensors(shape, "projection", shape.hidden * shape.heads * shape.value_size(), shape.hidden,
              true, false, tensors);
  if (shape.post_norm) add_norm_tensors(shape, "attention_norm", tensors);
  return tensors;
}

std::vector<Tensor> feed_forward_tensors(const BlockShape& shape) {
  std::vector<Tensor> tensors;
  if (!shape.post_norm) add_norm_tensors(shape, "mlp_norm", tensors);
  if (shape.moe.experts > 0) {
    for (Tensor& tensor : expert_tensors(shape.hidden, shape.moe))
      tensors.push_back(std::move(tensor));
  } else {
    const std::int64_t mlp_in = mlp_in_features(shape);
    add_tensors(shape, "mlp_in", mlp_in * shape.hidden, mlp_in, true, true, tensors);
    add_tensors(shape, "mlp_out", shape.hidden * shape.ffn, shape.hidden, true, false, tensors);
  }
  if (shape.post_norm) add_norm_tensors(shape, "mlp_norm", tensors);
  return tensors;
}

std::vector<Tensor> transformer_block_tensors(const BlockShape& shape) {
  std::vector<Tensor> tensors = attention_tensors(shape);
  for (Tensor& tensor : feed_forward_tensors(shape)) tensors.push_back(std::move(tensor));
  if (!shape.is_frozen()) return tensors;
  for (Tensor& tensor : tensors) tensor.frozen = true;
  const AdapterShape& adapters = shape.adapters;
  const auto adapt = [&](bool is_there, const char* name, std::int64_t in, std::int64_t out) {
    if (!is_there) return;
    for (Tensor& tensor : adapter_tensors(name, adapters.rank, in, out))
      tensors.push_back(std::move(tensor));
  };
  adapt(adapters.qkv, "qkv", shape.hidden, qkv_features(shape));
  adapt(adapters.projection, "projection", shape.heads * shape.head_size, shape.hidden);
  adapt(adapters.mlp_in, "mlp_in", shape.hidden, mlp_in_features(shape));
  adapt(adapters.mlp_out, "mlp_out", shape.ffn, shape.hidden);
  return tensors;
}

std::string split_limit(std::string_view what, long long value, int tensor) {
  if (value % tensor == 0) return {};
  return "tensor parallelism " + std::to_string(tensor) + " does not divide the " +
         std::to_string(value) + " " + std::string(what);
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
      shape.adapters.rank > 0
          ? split_limit("features of an adapter's output", shape.hidden, slice.tensor)
          : std::string(),
      context_slice_limits(shape, sequence, slice),
      slice.sequence_parallel ? split_limit("tokens of a sequence (sequence parallelism)",
                                            sequence / slice.context, slice.tensor)
                              : std::string()};
  for (const std::string& why : whys)
    if (!why.empty()) return why;
  return {};
}

}  // namespace windtunnel

#include "model/moe.hpp"

#include <cmath>
#include <utility>

namespace windtunnel {
namespace {

constexpr GemmNames kRouter = {"router", "router.input_gradient", "router.weight_gradient"};
constexpr GemmNames kExpertsIn = {"experts_in", "experts_in.input_gradient",
                                  "experts_in.weight_gradient"};
constexpr GemmNames kExpertsOut = {"experts_out", "experts_out.input_gradient",
                                   "experts_out.weight_gradient"};
constexpr GemmNames kSharedIn = {"shared_in", "shared_in.input_gradient",
                                 "shared_in.weight_gradient"};
constexpr GemmNames kSharedOut = {"shared_out", "shared_out.input_gradient",
                                  "shared_out.weight_gradient"};

constexpr GemmNames kLatentDown = {"latent_down", "latent_down.input_gradient",
                                   "latent_down.weight_gradient"};
constexpr GemmNames kLatentUp = {"latent_up", "latent_up.input_gradient",
                                 "latent_up.weight_gradient"};

constexpr std::string_view kCastRows = "cast_rows", kCastRowGradients = "cast_row_gradients";

// Features of what an expert gets.
std::int64_t row_width(std::int64_t hidden, const ExpertShape& shape) {
  return shape.latent > 0 ? shape.latent : hidden;
}

// Where the copies of one rank's tokens go.
struct Routing {
  Routing(const TransformerSlice& slice, const ExpertShape& shape)
      : tokens(double(slice.tokens) / (slice.splits_sequence ? slice.tensor : 1)),
        row(slice.element * double(row_width(slice.hidden, shape))),
        local_experts(int(shape.experts) / slice.expert),
        expert(slice.expert),
        expert_tensor(slice.expert_tensor),
        once(slice.expert_dispatch == TokenDispatch::TwoLevel
                 ? TokenRouting{int(shape.experts), int(shape.per_token), int(shape.router_groups),
                                int(shape.router_groups_per_token)}
                 : TokenRouting{}) {
    const double even = tokens * double(shape.per_token) / double(shape.experts);
    const double each = shape.capacity_factor > 0 ? std::ceil(even * shape.capacity_factor) : even;
    sent = each * double(shape.experts);
    rows = sent * expert_tensor;
    rows_of_expert = std::int64_t(std::ceil(rows / local_experts));
  }

  double tokens;  // of this rank
  double row;     // bytes of a row of an expert
  int local_experts, expert, expert_tensor;
  TokenRouting once;                // LayerCollective::routing
  double sent = 0;                  // copies that leave the permutation, this rank's own included
  double rows = 0;                  // that this rank's experts work on
  std::int64_t rows_of_expert = 0;  // of a GEMM
};

// A GEMM for each local expert, one after another, fp8 and fp4 after one cast of all rows. Source:
// TransformerEngine GroupedLinear, multi_stream_cublas_gemm and fp8_multi_cast_transpose_fused.
// FLOPs for MFU are those of the tokens' own copies on all ranks: 2 k b s in out.
Operation grouped_linear(const TransformerSlice& slice, const ExpertShape& shape,
                         const Routing& routing, const GemmNames& names, std::int64_t in,
                         std::int64_t out, double model_flops) {
  Operation op;
  const std::int64_t rows = routing.rows_of_expert;
  const auto gemms = [&](std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k) {
    Work work = matmul(m, n, k, slice.type, routing.local_experts);
    work.kernels = routing.local_experts;
    return Piece{name, work};
  };
  op.forward = {gemms(names.forward, rows, out, in)};
  op.backward_input = {gemms(names.input_gradient, rows, in, out)};
  Piece weight_gradient = gemms(names.weight_gradient, out, in, rows);
  std::get<Work>(weight_gradient.what).is_weight_gradient = true;
  op.backward_weight = {weight_gradient};
  const double inputs = routing.rows * double(in), outputs = routing.rows * double(out);
  if (is_of_operands(slice.type)) {
    op.forward.insert(op.forward.begin(), conversion_both_ways(kCastRows, inputs, slice.type));
    op.backward_input.insert(op.backward_input.begin(),
                             conversion_both_ways(kCastRowGradients, outputs, slice.type));
  }
  op.backward = op.backward_input;
  op.backward.push_back(op.backward_weight.front());
  op.input = Bytes(slice.element * inputs);
  op.outputs = {Bytes(slice.element * outputs)};
  op.saved = Bytes(bytes_of(slice.type) * inputs);
  op.held = Bytes(bytes_of(slice.type) * (inputs + outputs));
  op.working = op.input + op.outputs.front();
  op.forward_flops = Flops(double(shape.per_token) * model_flops);
  op.backward_flops = 2 * op.forward_flops;
  return op;
}

// The linear onto E logits, and the choice of k in fp32. Forward, bytes a logit: cast e + 4, top k
// 4, sparse probabilities cleared and written 4, map of the choice 1 and its sum by expert 1.
// Backward: gradient of the probabilities 4, of the logits 4, cast 4 + e.
Operation router(const TransformerSlice& slice, const ExpertShape& shape, const Routing& routing) {
  Operation op = behind_norm(replicated_linear(slice, kRouter, slice.hidden, shape.experts));
  const double logits = routing.tokens * double(shape.experts), e = slice.element;
  op.forward.push_back({"top_k", elementwise_kernels((e + 14) * logits, 8)});
  const Piece gradient = {"top_k", elementwise_kernels((e + 12) * logits, 4)};
  op.backward.insert(op.backward.begin(), gradient);
  op.backward_input.insert(op.backward_input.begin(), gradient);
  op.saved += Bytes(5 * logits);  // probabilities and the map
  return op;
}

// Pieces between a rank's tokens and its experts' rows. Towards the experts: copies (read and
// written), the exchange, and rows ordered by local expert where several senders mixed them.
std::vector<Piece> dispatch(const Routing& routing) {
  std::vector<Piece> pieces;
  const Bytes rows(routing.sent * routing.row);
  pieces.push_back({"permute", elementwise_kernels(2 * rows.value, 2)});
  if (routing.expert > 1)
    pieces.push_back({"dispatch", LayerCollective{.kind = CollectiveKind::AllToAll,
                                                  .size = rows,
                                                  .group = LayerGroup::Expert,
                                                  .routing = routing.once}});
  if (routing.expert_tensor > 1)
    pieces.push_back({"dispatch_gather", LayerCollective{.kind = CollectiveKind::AllGather,
                                                         .size = routing.expert_tensor * rows,
                                                         .group = LayerGroup::ExpertTensor}});
  if (routing.local_experts > 1 && routing.expert * routing.expert_tensor > 1)
    pieces.push_back({"sort_rows", elementwise_kernels(2 * routing.rows * routing.row, 1)});
  return pieces;
}

// The way back; the sum over a token's copies reads them and writes the token.
std::vector<Piece> combine(const Routing& routing) {
  std::vector<Piece> pieces;
  const Bytes rows(routing.sent * routing.row);
  if (routing.local_experts > 1 && routing.expert * routing.expert_tensor > 1)
    pieces.push_back({"sort_rows", elementwise_kernels(2 * routing.rows * routing.row, 1)});
  if (routing.expert_tensor > 1)
    pieces.push_back({"combine_sum", LayerCollective{.kind = CollectiveKind::ReduceScatter,
                                                     .size = routing.expert_tensor * rows,
                                                     .group = LayerGroup::ExpertTensor}});
  if (routing.expert > 1)
    pieces.push_back({"combine", LayerCollective{.kind = CollectiveKind::AllToAll,
                                                 .size = rows,
                                                 .group = LayerGroup::Expert,
                                                 .routing = routing.once}});
  pieces.push_back(
      {"unpermute", elementwise_kernels(rows.value + routing.tokens * routing.row, 2)});
  return pieces;
}

// One way forward, the other backward. The rows themselves are kept by the experts.
Operation exchange(const Routing& routing, std::vector<Piece> way, std::vector<Piece> way_back) {
  Operation op;
  op.forward = std::move(way);
  op.backward = op.backward_input = std::move(way_back);
  op.working = Bytes((routing.sent + routing.rows) * routing.row);
  return op;
}

// SwiGLU inside the GEMM before it, its gradient inside the one before that in the backward pass,
// and the casts of what they return.
void fuse_gate(Operation& in, Operation& gate, Operation& out) {
  gate.forward.clear();
  gate.backward.clear();
  gate.backward_input.clear();
  const auto drop = [](std::vector<Piece>& pieces, std::string_view name) {
    std::erase_if(pieces, [&](const Piece& piece) { return piece.name == name; });
  };
  drop(out.forward, kCastRows);
  drop(in.backward, kCastRowGradients);
  drop(in.backward_input, kCastRowGradients);
}

// Forward, in units of e f: each half clamped (2 and 2) and joined (4), then SwiGLU (3). Backward:
// SwiGLU (5), the clamps' gradients (3 and 3), which are joined (4). The clamps keep what they got,
// 2 e f. Source: NVIDIA/Megatron-LM @034fd2d megatron/core/fusions/fused_bias_geglu.py,
// weighted_bias_quick_geglu_impl.
Operation clamped_swiglu(const TransformerSlice& slice, double elements) {
  Operation op = swiglu(slice, "experts_swiglu", elements);
  const double bytes = slice.element * elements;
  op.forward.insert(op.forward.begin(), {"clamp", elementwise_kernels(8 * bytes, 3)});
  const Piece gradients = {"clamp", elementwise_kernels(10 * bytes, 3)};
  op.backward.push_back(gradients);
  op.backward_input.push_back(gradients);
  op.saved += Bytes(2 * bytes);
  return op;
}

// y + w b for the rows of each expert, with the router's weight w in fp32. Forward, bytes an
// element: w b written 4; added to y, e + 4 + 4; rows of experts joined 8; cast 4 + e. Backward:
// cast e + 4; the gradients of y, cast 4 + e and joined 2 e, and of b and w, 8 + 4 each. Kernels:
// the product and the sum of each expert forward, its cast and its two products and sums backward,
// and two over the rows of all. Source: megatron/core/transformer/moe/experts.py,
// TEGroupedMLP._apply_bias.
Operation expert_bias(const TransformerSlice& slice, const Routing& routing, std::int64_t width) {
  const double n = routing.rows * double(width), e = slice.element;
  return elementwise_operation(
      "expert_bias", elementwise_kernels((24 + 2 * e) * n, 2 * routing.local_experts + 2),
      elementwise_kernels((32 + 4 * e) * n, 5 * routing.local_experts + 2), Bytes(0));
}

Operation expert_activation(const TransformerSlice& slice, const ExpertShape& shape,
                            std::string_view gated, std::string_view ungated, double elements) {
  return shape.gated ? swiglu(slice, gated, elements)
                     : activation_function(slice, ungated, elements);
}

void append_shared(const TransformerSlice& slice, const ExpertShape& shape,
                   std::vector<Operation>& operations) {
  const std::int64_t ffn = shape.shared_ffn;
  operations.push_back(behind_norm(
      column_parallel_linear(slice, kSharedIn, slice.hidden, (shape.gated ? 2 : 1) * ffn)));
  operations.push_back(expert_activation(slice, shape, "shared_swiglu", "shared_squared_relu",
                                         double(slice.tokens) * double(ffn) / slice.tensor));
  operations.push_back(row_parallel_linear(slice, kSharedOut, ffn, slice.hidden));
  operations.push_back(residual_add(slice, "shared_sum", false));
}

}  // namespace

std::vector<Operation> expert_operations(const TransformerSlice& slice, const ExpertShape& shape) {
  const Routing routing(slice, shape);
  const std::int64_t rows = row_width(slice.hidden, shape), f = shape.ffn;
  const std::int64_t width = f / slice.expert_tensor, parts = shape.gated ? 2 : 1;
  const double flops = 2.0 * double(slice.tokens) * double(rows) * double(f);
  std::vector<Operation> operations = {router(slice, shape, routing)};
  if (shape.latent > 0)
    operations.push_back(
        behind_norm(replicated_linear(slice, kLatentDown, slice.hidden, shape.latent)));
  operations.push_back(exchange(routing, dispatch(routing), combine(routing)));
  Operation in =
      grouped_linear(slice, shape, routing, kExpertsIn, rows, parts * width, double(parts) * flops);
  const bool is_fused = slice.software->fused_experts && is_of_operands(slice.type);
  const double features = routing.rows * double(width);
  Operation gate = shape.clamped && !is_fused ? clamped_swiglu(slice, features)
                                              : expert_activation(slice, shape, "experts_swiglu",
                                                                  "experts_squared_relu", features);
  Operation out = grouped_linear(slice, shape, routing, kExpertsOut, width, rows, flops);
  if (is_fused) fuse_gate(in, gate, out);
  gate.modules.add(RecomputeModule::MoeAct);
  out.made_by = RecomputeModule::MoeAct;
  out.made = out.saved;
  operations.insert(operations.end(), {in, gate, out});
  if (shape.biased && !is_fused) operations.push_back(expert_bias(slice, routing, rows));
  operations.push_back(exchange(routing, combine(routing), dispatch(routing)));
  if (shape.latent > 0)
    operations.push_back(replicated_linear(slice, kLatentUp, shape.latent, slice.hidden));
  if (shape.shared_ffn > 0) append_shared(slice, shape, operations);
  for (Operation& op : operations) op.modules.add(RecomputeModule::Moe);
  return operations;
}

std::vector<Tensor> expert_tensors(std::int64_t hidden, const ExpertShape& shape) {
  const int experts = int(shape.experts), used = int(shape.per_token);
  const std::int64_t weights = shape.experts * shape.ffn * row_width(hidden, shape);
  const std::int64_t parts = shape.gated ? 2 : 1;
  std::vector<Tensor> tensors = {{"router.weight", shape.experts * hidden, false}};
  if (shape.router_bias) tensors.push_back({"router.bias", shape.experts, false});
  if (shape.latent > 0) {
    tensors.push_back({"latent_down.weight", shape.latent * hidden, false});
    tensors.push_back({"latent_up.weight", shape.latent * hidden, false});
  }
  const auto add = [&](const char* name, std::int64_t numel) {
    tensors.push_back({name, numel, false, experts, used});
  };
  add("experts_in.weight", parts * weights);
  if (shape.biased) add("experts_in.bias", parts * shape.experts * shape.ffn);
  add("experts_out.weight", weights);
  if (shape.biased) add("experts_out.bias", shape.experts * row_width(hidden, shape));
  if (shape.shared_ffn > 0) {
    tensors.push_back({"shared_in.weight", parts * shape.shared_ffn * hidden, true});
    tensors.push_back({"shared_out.weight", shape.shared_ffn * hidden, true});
  }
  return tensors;
}

std::string expert_slice_limits(const ExpertShape& shape, const Slice& slice) {
  const auto uneven = [](std::string_view how, int ranks, std::int64_t value,
                         std::string_view what) {
    if (value % ranks == 0) return std::string();
    return std::string(how) + " parallelism " + std::to_string(ranks) + " does not divide the " +
           std::to_string(value) + " " + std::string(what);
  };
  if (slice.tensor > 1 && !slice.sequence_parallel)
    return "a mixture of experts under tensor parallelism needs sequence_parallel, as in "
           "Megatron-LM";
  for (const std::string& why :
       {uneven("expert", slice.expert, shape.experts, "experts"),
        uneven("expert tensor", slice.expert_tensor, shape.ffn, "features of an expert"),
        split_limit("features of the shared expert", shape.shared_ffn, slice.tensor)})
    if (!why.empty()) return why;
  return {};
}

}  // namespace windtunnel

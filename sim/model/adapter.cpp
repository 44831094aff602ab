#include "model/adapter.hpp"

#include <utility>

namespace windtunnel {
namespace {

constexpr GemmNames kDown = {"adapter_in", "adapter_in.input_gradient",
                             "adapter_in.weight_gradient"};
constexpr GemmNames kUp = {"adapter_out", "adapter_out.input_gradient",
                           "adapter_out.weight_gradient"};

Operation small_linear(const TransformerSlice& slice, const GemmNames& names, std::int64_t in,
                       std::int64_t out) {
  const auto wide = slice.wide_format();
  Operation op = linear_operation(names, slice.tokens, in, out, wide.value_or(slice.type));
  for (std::vector<Piece>* pieces :
       {&op.forward, &op.backward, &op.backward_input, &op.backward_weight})
    for (Piece& piece : *pieces) std::get<Work>(piece.what).format = wide;
  return op;
}

}  // namespace

Operation frozen(Operation op, DType type) {
  cast_one_way(op.forward, type);
  cast_one_way(op.backward_input, type);
  op.backward = op.backward_input;
  op.backward_weight.clear();
  op.backward_flops = op.backward_flops - op.forward_flops;
  op.saved = op.held = Bytes(0);
  return op;
}

Operation adapter(const TransformerSlice& slice, const AdapterShape& shape, std::int64_t in,
                  std::int64_t out, LinearSplit split) {
  const bool by_columns = split == LinearSplit::Columns;
  const int t = slice.tensor;
  const double e = slice.element, tokens = double(slice.tokens);
  const std::int64_t local_in = by_columns ? in : in / t;
  const Operation down =
      small_linear(slice, kDown, local_in, by_columns ? shape.rank / t : shape.rank);
  const Operation up = small_linear(slice, kUp, shape.rank, out / t);
  const double inputs = tokens * double(local_in), outputs = tokens * double(out) / t;
  const Bytes narrow(e * tokens * double(shape.rank));

  Operation op;
  const auto append = [](std::vector<Piece>& to, const std::vector<Piece>& pieces) {
    to.insert(to.end(), pieces.begin(), pieces.end());
  };
  const auto add = [](std::vector<Piece>& to, std::string_view name, double bytes, int kernels) {
    Work work = elementwise(Bytes(bytes));
    work.kernels = kernels;
    to.push_back({name, work});
  };
  const auto exchange = [&](std::vector<Piece>& to, std::string_view name, CollectiveKind kind,
                            Bytes size) {
    if (t > 1) to.push_back({name, LayerCollective{kind, size}});
  };
  // Beside rows: some features of all tokens for all features of some tokens.
  const auto swap_tokens = [&](std::vector<Piece>& to) {
    if (!by_columns && slice.splits_sequence)
      exchange(to, "adapter.tokens", CollectiveKind::AllToAll, Bytes(e * outputs));
  };

  if (shape.dropout) add(op.forward, "adapter.dropout", (2 * e + 1) * inputs, 1);
  append(op.forward, down.forward);
  exchange(op.forward, "adapter.rank",
           by_columns ? CollectiveKind::AllGather : CollectiveKind::AllReduce, narrow);
  append(op.forward, up.forward);
  swap_tokens(op.forward);
  // Without sequence parallelism all features of all tokens, and nothing on the way back.
  if (!by_columns && !slice.splits_sequence)
    exchange(op.forward, "adapter.gather", CollectiveKind::AllGather, Bytes(e * outputs * t));
  add(op.forward, "adapter.add", (2 + 3) * e * outputs, 2);  // scaled, then added

  add(op.backward_input, "adapter.scale", 2 * e * outputs, 1);
  swap_tokens(op.backward_input);
  append(op.backward_input, up.backward_input);
  exchange(op.backward_input, "adapter.rank_gradient", CollectiveKind::AllReduce, narrow);
  append(op.backward_input, down.backward_input);
  if (shape.dropout) add(op.backward_input, "adapter.dropout", (2 * e + 1) * inputs, 1);
  add(op.backward_input, "adapter.add", 3 * e * inputs, 1);
  append(op.backward_weight, up.backward_weight);
  append(op.backward_weight, down.backward_weight);
  op.backward = op.backward_input;
  append(op.backward, op.backward_weight);

  op.saved = down.saved + up.saved + Bytes(shape.dropout ? inputs : 0);  // and the mask
  op.held = down.held + up.held;
  op.working = Bytes(e * (inputs + outputs));
  op.forward_flops = t * (down.forward_flops + up.forward_flops);
  op.backward_flops = t * (down.backward_flops + up.backward_flops);
  return op;
}

std::vector<Tensor> adapter_tensors(const std::string& name, std::int64_t rank, std::int64_t in,
                                    std::int64_t out) {
  return {{name + ".adapter_in", rank * in, true}, {name + ".adapter_out", rank * out, true}};
}

}  // namespace windtunnel

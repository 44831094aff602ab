#include "model/latent_attention.hpp"

#include <utility>

namespace windtunnel {
namespace {

constexpr GemmNames kQueryDown = {"query_down", "query_down.input_gradient",
                                  "query_down.weight_gradient"};
constexpr GemmNames kQueryUp = {"query_up", "query_up.input_gradient", "query_up.weight_gradient"};
constexpr GemmNames kPairsDown = {"key_value_down", "key_value_down.input_gradient",
                                  "key_value_down.weight_gradient"};
constexpr GemmNames kPairsUp = {"key_value_up", "key_value_up.input_gradient",
                                "key_value_up.weight_gradient"};

// Norm of a narrow state of `width` features.
Operation narrow_norm(const TransformerSlice& slice, std::string_view name, std::int64_t width) {
  TransformerSlice narrow = slice;
  narrow.hidden = width;
  return rms_norm_operation(narrow, name);
}

// Rotary positions of the queries' part in place and of the one key that all heads share; each
// head's key is put together of its own part and that one: read and written. Backward likewise.
// Every tensor rank needs the shared key of all tokens, and has its heads' part of its gradient.
Operation positions(const TransformerSlice& slice, const BlockShape& shape) {
  const double tokens = double(slice.tokens), heads = double(shape.heads) / slice.tensor;
  const double rotated = heads * double(shape.latent.rope) + double(shape.latent.rope);
  Work work = elementwise(
      Bytes(slice.element * tokens * (2 * rotated + 2 * heads * double(shape.head_size))));
  work.kernels = 3;
  Operation op = elementwise_operation("rotary", work, work, Bytes(0));
  if (slice.tensor == 1) return op;
  const Bytes keys(slice.element * tokens * double(shape.latent.rope));
  const CollectiveKind sum =
      slice.splits_sequence ? CollectiveKind::ReduceScatter : CollectiveKind::AllReduce;
  if (slice.splits_sequence)
    op.forward.insert(op.forward.begin(),
                      collective("gather_shared_key", CollectiveKind::AllGather, keys));
  op.backward.push_back(collective("sum_shared_key", sum, keys));
  op.backward_input = op.backward;
  return op;
}

}  // namespace

std::vector<Operation> latent_operations(const TransformerSlice& slice, const BlockShape& shape) {
  const LatentShape& latent = shape.latent;
  const std::int64_t queries = shape.heads * shape.head_size;
  const std::int64_t pairs = shape.heads * (shape.head_size - latent.rope + latent.value);
  std::vector<Operation> operations;
  const auto add = [&](Operation op) { operations.push_back(std::move(op)); };
  const auto add_up = [&](Operation op) {
    op.modules.add(RecomputeModule::MlaUpProj);
    add(std::move(op));
  };
  if (latent.query_rank > 0) {
    add(behind_norm(replicated_linear(slice, kQueryDown, shape.hidden, latent.query_rank)));
    add(narrow_norm(slice, "query_norm", latent.query_rank));
    add_up(column_parallel_linear(slice, kQueryUp, latent.query_rank, queries));
  } else {
    add_up(behind_norm(column_parallel_linear(slice, kQueryUp, shape.hidden, queries)));
  }
  add(behind_norm(
      replicated_linear(slice, kPairsDown, shape.hidden, latent.kv_rank + latent.rope)));
  add(narrow_norm(slice, "key_value_norm", latent.kv_rank));
  add_up(column_parallel_linear(slice, kPairsUp, latent.kv_rank, pairs));
  add_up(positions(slice, shape));
  return operations;
}

std::vector<Tensor> latent_tensors(const BlockShape& shape) {
  const LatentShape& latent = shape.latent;
  const std::int64_t queries = shape.heads * shape.head_size;
  const std::int64_t pairs = shape.heads * (shape.head_size - latent.rope + latent.value);
  const std::int64_t narrow = latent.query_rank > 0 ? latent.query_rank : shape.hidden;
  std::vector<Tensor> tensors;
  if (latent.query_rank > 0) {
    tensors.push_back({"query_down.weight", shape.hidden * latent.query_rank, false});
    tensors.push_back({"query_norm.weight", latent.query_rank, false});
  }
  tensors.push_back({"query_up.weight", narrow * queries, true});
  tensors.push_back(
      {"key_value_down.weight", shape.hidden * (latent.kv_rank + latent.rope), false});
  tensors.push_back({"key_value_norm.weight", latent.kv_rank, false});
  tensors.push_back({"key_value_up.weight", latent.kv_rank * pairs, true});
  return tensors;
}

}  // namespace windtunnel

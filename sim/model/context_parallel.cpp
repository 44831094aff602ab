#include "model/context_parallel.hpp"

namespace windtunnel {
namespace {

Piece exchange(std::string_view name, CollectiveKind kind, Bytes size, bool overlaps_next = false) {
  return {name, LayerCollective{kind, size, overlaps_next, LayerGroup::Context}};
}

// `part` of a kernel, as the `blocks` kernels that each block of keys needs.
Piece part_of(const Piece& kernel, double part, int blocks) {
  Work work = std::get<Work>(kernel.what);
  work.flops = part * work.flops;
  work.bytes = part * work.bytes;
  work.kernels *= blocks;
  return {kernel.name, work};
}

// Every block leaves an output that is scaled and added to the others: read, and the sum read and
// written.
Work merged_outputs(Bytes output, int blocks) {
  Work work = elementwise(3 * blocks * output);
  work.kernels = blocks;
  return work;
}

}  // namespace

Operation context_parallel_attention(const TransformerSlice& slice, const BlockShape& shape,
                                     Operation local) {
  const int ranks = slice.context;
  const double feature = slice.element * double(slice.tokens) / slice.tensor;
  const Bytes queries(feature * double(shape.heads * shape.head_size));
  const Bytes outputs(feature * double(shape.heads * shape.value_size()));
  const Bytes pairs(feature *
                    double(shape.kv_heads * (shape.head_size + shape.value_size())));  // K and V
  const Piece forward = local.forward.front(), backward = local.backward.front();
  const auto gather = [&](bool beside) {
    return exchange("gather_keys", CollectiveKind::AllGather, ranks * pairs, beside);
  };
  const auto scatter = [&](bool beside) {
    return exchange("sum_key_gradients", CollectiveKind::ReduceScatter, ranks * pairs, beside);
  };
  switch (slice.context_parallel) {
    case ContextParallel::Ring: {
      const double last = 1.0 / ranks;  // the block that nothing is exchanged beside
      local.forward = {gather(true),
                       part_of(forward, 1 - last, ranks - 1),
                       part_of(forward, last, 1),
                       {"merge_outputs", merged_outputs(outputs, ranks)}};
      // Half of the blocks' time hides the keys and values, half their gradients.
      local.backward = {gather(true), part_of(backward, (1 - last) / 2, ranks - 1), scatter(true),
                        part_of(backward, (1 - last) / 2, ranks - 1), part_of(backward, last, 1)};
      local.working += 4 * pairs;  // the block at hand and the next, and their gradients
      break;
    }
    case ContextParallel::AllGather:
      local.forward = {gather(false), forward};
      local.backward = {gather(false), backward, scatter(false)};
      local.working += 2 * ranks * pairs;
      break;
    case ContextParallel::Ulysses: {
      const auto swap = [&](std::string_view name, Bytes size) {
        return exchange(name, CollectiveKind::AllToAll, size);
      };
      local.forward = {swap("tokens_to_heads", queries + pairs), forward,
                       swap("heads_to_tokens", outputs)};
      local.backward = {swap("tokens_to_heads", outputs), backward,
                        swap("heads_to_tokens", queries + pairs)};
      local.working += queries + outputs + pairs;
      break;
    }
  }
  local.backward_input = local.backward;
  return local;
}

std::string context_slice_limits(const BlockShape& shape, std::int64_t sequence,
                                 const Slice& slice) {
  const int ranks = slice.context;
  if (ranks == 1) return {};
  if (!is_fused(slice.attention)) return "context parallelism needs attention: flash";
  const std::string how = "context parallelism " + std::to_string(ranks);
  // Each rank has a chunk from the front and one from the back.
  if (sequence % (2 * std::int64_t{ranks}) != 0)
    return how + " does not divide the " + std::to_string(sequence) +
           " tokens of a sequence into 2 x " + std::to_string(ranks) + " chunks";
  if (slice.context_parallel != ContextParallel::Ulysses) return {};
  for (const auto& [what, heads] :
       {std::pair("attention heads", shape.heads), std::pair("key-value heads", shape.kv_heads)})
    if (heads / slice.tensor % ranks != 0)
      return how + " (ulysses) does not divide the " + std::to_string(heads / slice.tensor) + " " +
             what + " of a rank";
  return {};
}

}  // namespace windtunnel

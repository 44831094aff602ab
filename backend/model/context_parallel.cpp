#include "backend/model/context_parallel.hpp"

#include "backend/model/communication.hpp"

namespace windtunnel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

std::vector<at::Tensor> rows_of(const at::Tensor& x) {
  return x.unbind(0);
}

// Row i goes to rank i; row i of the result came from it.
at::Tensor exchanged(const at::Tensor& rows, LayerContext& context) {
  const at::Tensor result = at::empty_like(rows);
  communicate(context, [&] { context.context->all_to_all(rows_of(result), rows_of(rows)); });
  return result;
}

at::Tensor all_tokens(const at::Tensor& x, LayerContext& context) {
  const std::int64_t ranks = context.context_size();
  const at::Tensor parts = x.view({x.size(0), x.size(1), ranks, x.size(2) / ranks});
  return tokens_in_order(exchanged(parts.permute({2, 0, 1, 3}).contiguous(), context));
}

at::Tensor all_heads(const at::Tensor& x, LayerContext& context) {
  const int ranks = context.context_size();
  const at::Tensor parts = exchanged(tokens_by_rank(x, ranks).contiguous(), context);
  return parts.permute({1, 2, 0, 3}).reshape({x.size(0) / ranks, x.size(1), ranks * x.size(2)});
}

class TokensToHeads : public Function<TokensToHeads> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    return all_tokens(x.contiguous(), context_of(state));
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    return {all_heads(gradients[0], context_of(state)), {}};
  }
};

class HeadsToTokens : public Function<HeadsToTokens> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    return all_heads(x, context_of(state));
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    return {all_tokens(gradients[0].contiguous(), context_of(state)), {}};
  }
};

// Of the rank `steps` before this one in the ring.
int before(int steps, const LayerContext& context) {
  const int ranks = context.context_size();
  return (context.context_rank() - steps + ranks) % ranks;
}

// To the next rank, from the one before.
void shift(const at::Tensor& arriving, const at::Tensor& leaving, Group& ring) {
  const std::vector<at::Tensor> nothing(std::size_t(ring.size()),
                                        at::empty({0}, leaving.options()));
  std::vector<at::Tensor> incoming = nothing, outgoing = nothing;
  outgoing[std::size_t((ring.rank() + 1) % ring.size())] = leaving;
  incoming[std::size_t((ring.rank() + ring.size() - 1) % ring.size())] = arriving;
  ring.all_to_all(incoming, outgoing);
}

at::Tensor gathered_blocks(const at::Tensor& own, LayerContext& context) {
  std::vector<std::int64_t> shape = own.sizes().vec();
  shape.insert(shape.begin(), context.context_size());
  const at::Tensor all = at::empty(shape, own.options());
  communicate(context, [&] { context.context->all_gather(all, own); });
  return all;
}

at::Tensor summed_around_ring(const at::Tensor& own, LayerContext& context,
                              const BlockGradient& gradient_of) {
  Group& ring = *context.context;
  const int last = context.context_size() - 1;
  at::Tensor block = own, of_own, sum;
  for (int step = 0; step <= last; ++step) {
    const at::Tensor next = step < last ? at::empty_like(own) : at::Tensor();
    // Of the block at hand, over the ranks that have had it, but for its owner's part.
    const at::Tensor arriving = step > 1 ? at::empty_like(own) : at::Tensor();
    at::Tensor gradient;
    communicate_beside(
        context,
        [&] {
          if (next.defined()) shift(next, block, ring);
          if (arriving.defined()) shift(arriving, sum, ring);
        },
        [&] { gradient = gradient_of(before(step, context), block); });
    if (step == 0)
      of_own = gradient;
    else
      sum = arriving.defined() ? gradient.add_(arriving) : gradient;
    block = next;
  }
  const at::Tensor of_others = at::empty_like(own);
  communicate(context, [&] { shift(of_others, sum, ring); });
  return of_own.add_(of_others);
}

}  // namespace

at::Tensor tokens_by_rank(const at::Tensor& whole, int ranks) {
  std::vector<std::int64_t> shape = whole.sizes().vec();
  shape.front() /= 2 * ranks;
  shape.insert(shape.begin(), 2 * ranks);
  const at::Tensor chunks = whole.reshape(shape);
  const at::Tensor pairs =
      at::stack({chunks.narrow(0, 0, ranks), chunks.narrow(0, ranks, ranks).flip(0)}, 1);
  return pairs.flatten(1, 2);
}

at::Tensor tokens_in_order(const at::Tensor& by_rank) {
  const std::int64_t half = by_rank.size(1) / 2;
  const at::Tensor front = by_rank.narrow(1, 0, half), back = by_rank.narrow(1, half, half);
  return at::cat({front, back.flip(0)}).flatten(0, 1);
}

at::Tensor own_tokens(const at::Tensor& whole, const LayerContext& context) {
  if (context.context_size() == 1) return whole;
  return tokens_by_rank(whole, context.context_size()).select(0, context.context_rank());
}

at::Tensor tokens_to_heads(const at::Tensor& x, LayerContext& context) {
  return TokensToHeads::apply(x, handle_of(context));
}

at::Tensor heads_to_tokens(const at::Tensor& x, LayerContext& context) {
  return HeadsToTokens::apply(x, handle_of(context));
}

void visit_blocks(const at::Tensor& own, LayerContext& context, const BlockVisit& visit) {
  const int ranks = context.context_size();
  if (context.context_parallel == ContextParallel::AllGather) {
    const at::Tensor all = gathered_blocks(own, context);
    for (int step = 0; step < ranks; ++step)
      visit(before(step, context), all[before(step, context)]);
    return;
  }
  at::Tensor block = own;
  for (int step = 0; step + 1 < ranks; ++step) {
    const at::Tensor next = at::empty_like(own);
    communicate_beside(
        context, [&] { shift(next, block, *context.context); },
        [&] { visit(before(step, context), block); });
    block = next;
  }
  visit(before(ranks - 1, context), block);
}

at::Tensor summed_block_gradients(const at::Tensor& own, LayerContext& context,
                                  const BlockGradient& gradient_of) {
  if (context.context_parallel == ContextParallel::Ring)
    return summed_around_ring(own, context, gradient_of);
  const at::Tensor all = gathered_blocks(own, context), gradients = at::empty_like(all);
  for (int step = 0; step < context.context_size(); ++step) {
    const int from = before(step, context);
    gradients[from].copy_(gradient_of(from, all[from]));
  }
  const at::Tensor sum = at::empty_like(own);
  communicate(context, [&] { context.context->reduce_scatter(sum, gradients); });
  return sum;
}

}  // namespace windtunnel

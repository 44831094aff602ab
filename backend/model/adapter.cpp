#include "backend/model/adapter.hpp"

#include "backend/model/communication.hpp"
#include "backend/model/tensor_parallel.hpp"

namespace windtunnel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr double kScale = 2;  // alpha / r

// Of x [s, b, f/t], the other ranks' features too: [s, b, f].
at::Tensor all_features(const at::Tensor& x, LayerContext& context) {
  const std::int64_t ranks = context.tensor_size();
  const at::Tensor parts = at::empty({ranks, x.size(0), x.size(1), x.size(2)}, x.options());
  communicate(context, [&] { context.tensor->all_gather(parts, x.contiguous()); });
  return parts.permute({1, 2, 0, 3}).reshape({x.size(0), x.size(1), ranks * x.size(2)});
}

at::Tensor own_features(const at::Tensor& x, const LayerContext& context) {
  const std::int64_t size = x.size(2) / context.tensor_size();
  return x.narrow(2, context.tensor_rank() * size, size);
}

at::Tensor summed(const at::Tensor& x, LayerContext& context) {
  at::Tensor sum = x.clone(at::MemoryFormat::Contiguous);
  communicate(context, [&] { context.tensor->all_reduce(sum); });
  return sum;
}

// Piece i of `pieces` [t, ...] goes to rank i; piece i of the result came from it.
at::Tensor exchanged(const at::Tensor& pieces, LayerContext& context) {
  const at::Tensor outgoing = pieces.contiguous();
  at::Tensor incoming = at::empty_like(outgoing);
  communicate(context, [&] { context.tensor->all_to_all(incoming.unbind(0), outgoing.unbind(0)); });
  return incoming;
}

// x A whole on every rank: of a rank's share of its features, or of its share of their sum.
// Backward every rank has the gradient that its own outputs give, of which the sum is wanted.
class WholeRank : public Function<WholeRank> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x, bool by_columns,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    state->saved_data["by_columns"] = by_columns;
    LayerContext& context = context_of(state);
    return by_columns ? all_features(x, context) : summed(x, context);
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    const at::Tensor sum = summed(gradients[0], context);
    return {state->saved_data["by_columns"].toBool() ? own_features(sum, context) : sum, {}, {}};
  }
};

// From some features of all tokens [s, b, f/t] to all features: of all tokens [s, b, f], or of this
// rank's [s/t, b, f] under sequence parallelism.
class AllFeatures : public Function<AllFeatures> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& x,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    LayerContext& context = context_of(state);
    if (!splits_sequence(context)) return all_features(x, context);
    const std::int64_t ranks = context.tensor_size(), tokens = x.size(0) / ranks;
    const at::Tensor pieces = exchanged(x.reshape({ranks, tokens, x.size(1), x.size(2)}), context);
    return pieces.permute({1, 2, 0, 3}).reshape({tokens, x.size(1), ranks * x.size(2)});
  }
  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    const at::Tensor& output = gradients[0];
    if (!splits_sequence(context)) return {own_features(output, context), {}};
    const std::int64_t ranks = context.tensor_size(), features = output.size(2) / ranks;
    const at::Tensor pieces = exchanged(
        output.reshape({output.size(0), output.size(1), ranks, features}).permute({2, 0, 1, 3}),
        context);
    return {pieces.flatten(0, 1), {}};
  }
};

}  // namespace

// B is zero, whichever of its rows a rank has.
Adapter::Adapter(ParameterDraws& draws, std::int64_t rank, std::int64_t in, std::int64_t out,
                 LinearSplit split, LayerContext& context)
    : split_(split),
      context_(context),
      down_(draws.normal({rank, in}, split == LinearSplit::Columns ? Split::First : Split::Second)),
      up_(draws.normal({out, rank}, Split::First, 0)) {}

at::Tensor Adapter::operator()(const at::Tensor& x) const {
  const bool by_columns = split_ == LinearSplit::Columns, splits = context_.tensor_size() > 1;
  at::Tensor narrow = linear(x, down_, {}, context_);
  if (splits) narrow = WholeRank::apply(narrow, by_columns, handle_of(context_));
  at::Tensor wide = linear(narrow, up_, {}, context_);
  if (splits && !by_columns) wide = AllFeatures::apply(wide, handle_of(context_));
  return wide * kScale;
}

}  // namespace windtunnel

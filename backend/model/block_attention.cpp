#include "backend/model/block_attention.hpp"

#include <cmath>
#include <limits>

#include "backend/model/communication.hpp"
#include "backend/model/context_parallel.hpp"

namespace windtunnel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Which of this rank's queries see which keys of rank `from`, each rank having an early and a late
// chunk of the tokens: of its own the earlier ones and itself; of an earlier rank's, all queries
// see the early chunk; of a later rank's, the late queries see both.
struct Seen {
  std::int64_t first_query, queries, keys;  // keys from the first
  bool causal = false;
};
Seen seen_of(int from, std::int64_t tokens, const LayerContext& context) {
  const std::int64_t half = tokens / 2;
  if (from == context.context_rank()) return {0, tokens, tokens, true};
  if (from < context.context_rank()) return {0, tokens, half};
  return {half, half, tokens};
}

// n = b g, with the batch outside. q [n, q, s, d]; a block is [n, s, d + v], keys and values.
class Blocks {
 public:
  Blocks(const at::Tensor& q, const at::Tensor& slopes, const LayerContext& context)
      : q_(q), slopes_(slopes), context_(context), scale_(1 / std::sqrt(double(q.size(3)))) {}

  // Adds a block to `output` [n, q, s, v], normalized by `sums` [n, q, s], the logarithms of the
  // sums of exponentials so far; both fp32.
  void add(int from, const at::Tensor& block, const at::Tensor& output,
           const at::Tensor& sums) const {
    const Seen seen = seen_of(from, tokens(), context_);
    const at::Tensor scores = scores_of(from, block, seen);
    const at::Tensor of_block = scores.logsumexp(-1);
    const at::Tensor weights = at::exp(scores - of_block.unsqueeze(-1)).to(q_.scalar_type());
    const at::Tensor mixed = of_queries(at::bmm(flat(weights), values_of(block, seen)), seen);
    const at::Tensor before = queries(sums, seen), merged = at::logaddexp(before, of_block);
    queries(output, seen)
        .mul_((before - merged).exp_().unsqueeze(-1))
        .add_(mixed * (of_block - merged).exp_().unsqueeze(-1));
    before.copy_(merged);
  }

  // Of a block's keys and values, [n, s, d + v]; adds those of the queries to `of_q`, fp32.
  // `rows`: the products of an output with its gradient, [n, q, s].
  at::Tensor gradient(int from, const at::Tensor& block, const at::Tensor& of_output,
                      const at::Tensor& sums, const at::Tensor& rows,
                      const at::Tensor& of_q) const {
    const Seen seen = seen_of(from, tokens(), context_);
    const at::Tensor keys = keys_of(block, seen), values = values_of(block, seen);
    const at::Tensor weights =
        at::exp(scores_of(from, block, seen) - queries(sums, seen).unsqueeze(-1));
    const at::Tensor of_mixed = flat(queries(of_output, seen));
    const at::Tensor of_weights = at::bmm(of_mixed, values.transpose(1, 2)).view(weights.sizes());
    const at::Tensor of_scores =
        flat((weights * (of_weights - queries(rows, seen).unsqueeze(-1))).to(q_.scalar_type()));
    queries(of_q, seen).add_(of_queries(at::bmm(of_scores, keys), seen), scale_);
    const at::Tensor result = at::zeros_like(block);
    keys_of(result, seen)
        .copy_(at::bmm(of_scores.transpose(1, 2), flat(queries(q_, seen))).mul_(scale_));
    values_of(result, seen)
        .copy_(at::bmm(flat(weights.to(q_.scalar_type())).transpose(1, 2), of_mixed));
    return result;
  }

 private:
  std::int64_t tokens() const { return q_.size(2); }
  static at::Tensor queries(const at::Tensor& x, const Seen& seen) {
    return x.narrow(2, seen.first_query, seen.queries);
  }
  // The query heads of a key-value head one after another.
  static at::Tensor flat(const at::Tensor& x) {
    return x.reshape({x.size(0), x.size(1) * x.size(2), x.size(3)});
  }
  static at::Tensor of_queries(const at::Tensor& flat_rows, const Seen& seen) {
    return flat_rows.view({flat_rows.size(0), -1, seen.queries, flat_rows.size(2)});
  }
  at::Tensor keys_of(const at::Tensor& block, const Seen& seen) const {
    return block.narrow(1, 0, seen.keys).narrow(2, 0, q_.size(3));
  }
  at::Tensor values_of(const at::Tensor& block, const Seen& seen) const {
    return block.narrow(1, 0, seen.keys).narrow(2, q_.size(3), block.size(2) - q_.size(3));
  }

  // fp32 [n, q, queries, keys].
  at::Tensor scores_of(int from, const at::Tensor& block, const Seen& seen) const {
    at::Tensor scores = at::bmm(flat(queries(q_, seen)), keys_of(block, seen).transpose(1, 2))
                            .view({q_.size(0), q_.size(1), seen.queries, seen.keys})
                            .to(at::kFloat)
                            .mul_(scale_);
    if (slopes_.defined()) scores.add_(slopes_ * positions(from, seen));
    if (seen.causal)
      scores.add_(at::full({seen.queries, seen.keys}, -std::numeric_limits<double>::infinity(),
                           scores.options())
                      .triu_(1));
    return scores;
  }

  // Of the keys of rank `from`.
  at::Tensor positions(int from, const Seen& seen) const {
    const int ranks = context_.context_size();
    const at::Tensor all = at::arange(tokens() * ranks, slopes_.options());
    return tokens_by_rank(all, ranks)[from].narrow(0, 0, seen.keys);
  }

  at::Tensor q_, slopes_;  // slopes [n, q, 1, 1]
  const LayerContext& context_;
  double scale_;
};

class BlockAttention : public Function<BlockAttention> {
 public:
  // q [n, q, s, d], keys_values [n, s, d + v], slopes [n, q, 1, 1].
  static at::Tensor forward(AutogradContext* state, const at::Tensor& q,
                            const at::Tensor& keys_values, const MaybeTensor& maybe_slopes,
                            std::int64_t context_handle) {
    state->saved_data["context"] = context_handle;
    LayerContext& context = context_of(state);
    const at::Tensor slopes = maybe_slopes.value_or(at::Tensor());
    const Blocks blocks(q, slopes, context);
    const at::Tensor output =
        at::zeros({q.size(0), q.size(1), q.size(2), keys_values.size(2) - q.size(3)},
                  q.options().dtype(at::kFloat));
    const at::Tensor sums = at::full({q.size(0), q.size(1), q.size(2)},
                                     -std::numeric_limits<double>::infinity(), output.options());
    visit_blocks(keys_values, context,
                 [&](int from, const at::Tensor& block) { blocks.add(from, block, output, sums); });
    const at::Tensor result = output.to(q.scalar_type());
    state->save_for_backward({q, keys_values, slopes, result, sums});
    return result;
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    LayerContext& context = context_of(state);
    const variable_list saved = state->get_saved_variables();
    const at::Tensor &q = saved[0], &keys_values = saved[1], &output = saved[3], &sums = saved[4];
    const Blocks blocks(q, saved[2], context);
    const at::Tensor of_output = gradients[0].contiguous();
    const at::Tensor rows = (of_output.to(at::kFloat) * output).sum(-1);
    const at::Tensor of_q = at::zeros(q.sizes(), rows.options());
    const at::Tensor of_keys_values =
        summed_block_gradients(keys_values, context, [&](int from, const at::Tensor& block) {
          return blocks.gradient(from, block, of_output, sums, rows, of_q);
        });
    return {of_q.to(q.scalar_type()), of_keys_values, {}, {}};
  }
};

}  // namespace

at::Tensor block_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& slopes, LayerContext& context) {
  const std::int64_t s = q.size(0), b = q.size(1), g = q.size(2), n = q.size(3), d = q.size(4);
  const auto keys_of = [&](const at::Tensor& x) {
    return x.permute({1, 2, 0, 3}).reshape({b * g, s, x.size(3)});
  };
  const at::Tensor of_heads =
      slopes.defined() ? slopes.repeat({b, 1}).view({b * g, n, 1, 1}) : at::Tensor();
  const at::Tensor output = BlockAttention::apply(
      q.permute({1, 2, 3, 0, 4}).reshape({b * g, n, s, d}), at::cat({keys_of(k), keys_of(v)}, 2),
      maybe(of_heads), handle_of(context));
  return output.view({b, g, n, s, -1}).permute({3, 0, 1, 2, 4}).reshape({s, b, -1});
}

}  // namespace windtunnel

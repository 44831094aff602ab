#include "backend/model/attention.hpp"

#include <cmath>
#include <limits>

#include "backend/model/block_attention.hpp"
#include "backend/model/context_parallel.hpp"

namespace windtunnel {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Slope of head i of n: 2^(-8 (i + 1) / n); for an n that is no power of two, those of the power
// below, then every second one of the power above. Source: Press et al. 2021, appendix and code.
double alibi_slope(std::int64_t head, std::int64_t heads) {
  std::int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  if (head < power) return std::exp2(-8.0 * double(head + 1) / double(power));
  return std::exp2(-4.0 * double(2 * (head - power) + 1) / double(power));
}

// [groups, queries] in fp32 on the host.
at::Tensor alibi_slopes(std::int64_t groups, std::int64_t queries,
                        const AttentionOptions& options) {
  std::vector<double> slopes;
  for (std::int64_t i = 0; i < groups * queries; ++i)
    slopes.push_back(alibi_slope(options.first_head + i, options.heads));
  return at::tensor(slopes, at::kFloat).view({groups, queries});
}

// What is added to the scores of `batch` samples: [1 or b g, q s, s]; undefined: nothing. ALiBi
// counts from the first token: the softmax does not see a constant.
at::Tensor score_bias(const at::Tensor& q, const AttentionOptions& options) {
  const std::int64_t tokens = q.size(0), batch = q.size(1), groups = q.size(2), queries = q.size(3);
  at::Tensor bias;
  if (options.causal)
    bias = at::full({tokens, tokens}, -std::numeric_limits<double>::infinity(), q.options())
               .triu_(1)
               .repeat({queries, 1})
               .unsqueeze(0);
  if (!options.alibi) return bias;
  const at::Tensor distances = at::arange(tokens, at::kFloat);
  const at::Tensor slopes = alibi_slopes(groups, queries, options).view({groups, queries, 1, 1});
  const at::Tensor linear = (slopes * distances)
                                .expand({groups, queries, tokens, tokens})
                                .reshape({groups, queries * tokens, tokens})
                                .repeat({batch, 1, 1})
                                .to(q.options());
  return bias.defined() ? linear + bias : linear;
}

double scale_of(const at::Tensor& q) {
  return 1 / std::sqrt(double(q.size(-1)));
}

at::Tensor unfused_core(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const AttentionOptions& options) {
  const std::int64_t s = q.size(0), b = q.size(1), g = q.size(2), n = q.size(3), d = q.size(4);
  const at::Tensor queries = q.permute({1, 2, 3, 0, 4}).reshape({b * g, n * s, d});
  const at::Tensor keys = k.permute({1, 2, 3, 0}).reshape({b * g, d, s});
  const at::Tensor values = v.permute({1, 2, 0, 3}).reshape({b * g, s, v.size(3)});
  const at::Tensor bias = score_bias(q, options);
  const at::Tensor scores = bias.defined() ? at::baddbmm(bias, queries, keys, 1, scale_of(q))
                                           : at::bmm(queries * scale_of(q), keys);
  const at::Tensor output = at::bmm(at::softmax(scores, -1), values);
  return output.view({b, g, n, s, -1}).permute({3, 0, 1, 2, 4}).reshape({s, b, -1});
}

at::Tensor fused_core(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const AttentionOptions& options) {
  const std::int64_t s = q.size(0), b = q.size(1), g = q.size(2), n = q.size(3), d = q.size(4);
  const auto of_all_heads = [&](const at::Tensor& x) {
    const std::int64_t size = x.size(3);
    return x.permute({1, 2, 0, 3})
        .unsqueeze(2)
        .expand({b, g, n, s, size})
        .reshape({b, g * n, s, size});
  };
  const at::Tensor bias =
      options.alibi ? score_bias(q, options).view({b, g * n, s, s}) : at::Tensor();
  const at::Tensor output =
      fused_attention(q.permute({1, 2, 3, 0, 4}).reshape({b, g * n, s, d}), of_all_heads(k),
                      of_all_heads(v), bias, options.causal && !options.alibi);
  return output.permute({2, 0, 1, 3}).reshape({s, b, -1});
}

// Unfused attention that keeps its inputs alone.
class RecomputedCore : public Function<RecomputedCore> {
 public:
  static at::Tensor forward(AutogradContext* state, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const AttentionOptions& options) {
    state->save_for_backward({q, k, v});
    state->saved_data["causal"] = options.causal;
    state->saved_data["alibi"] = options.alibi;
    state->saved_data["heads"] = options.heads;
    state->saved_data["first_head"] = options.first_head;
    return unfused_core(q, k, v, options);
  }

  static variable_list backward(AutogradContext* state, const variable_list& gradients) {
    AttentionOptions options;
    options.causal = state->saved_data["causal"].toBool();
    options.alibi = state->saved_data["alibi"].toBool();
    options.heads = state->saved_data["heads"].toInt();
    options.first_head = state->saved_data["first_head"].toInt();
    variable_list inputs;
    for (const at::Tensor& saved : state->get_saved_variables())
      inputs.push_back(saved.detach().set_requires_grad(true));
    const at::AutoGradMode with_gradients(true);
    const at::Tensor output = unfused_core(inputs[0], inputs[1], inputs[2], options);
    variable_list result = torch::autograd::grad({output}, inputs, {gradients[0]});
    result.emplace_back();
    return result;
  }
};

at::Tensor core(const Heads& heads, const AttentionOptions& options, const LayerContext& context) {
  const auto& [q, k, v] = heads;
  if (is_fused(context.attention) && kHasFusedAttention) return fused_core(q, k, v, options);
  if (context.selective_recompute && context.attention == AttentionKernel::Unfused)
    return RecomputedCore::apply(q, k, v, options);
  return unfused_core(q, k, v, options);
}

// With all tokens of these heads on this rank: sample by sample, so that no score is computed
// between samples.
at::Tensor attention_to_own(const Heads& heads, const AttentionOptions& options,
                            const LayerContext& context) {
  if (context.samples.empty()) return core(heads, options, context);
  std::vector<at::Tensor> outputs;
  std::int64_t first = 0;
  for (const std::int64_t length : context.samples) {
    const auto of_sample = [&](const at::Tensor& x) { return x.narrow(0, first, length); };
    outputs.push_back(
        core({of_sample(heads.q), of_sample(heads.k), of_sample(heads.v)}, options, context));
    first += length;
  }
  return at::cat(outputs);
}

// With this rank's tokens of all heads.
at::Tensor attention_to_blocks(const Heads& heads, const AttentionOptions& options,
                               LayerContext& context) {
  SIM_CHECK(options.causal && context.samples.empty(),
            "context parallelism shares one causal square");
  const at::Tensor slopes =
      options.alibi ? alibi_slopes(heads.q.size(2), heads.q.size(3), options).to(heads.q.device())
                    : at::Tensor();
  return block_attention(heads.q, heads.k, heads.v, slopes, context);
}

// Ulysses: of this rank's tokens of all heads, all tokens of this rank's heads. One exchange moves
// queries, keys and values, those of a key-value head side by side.
Heads own_heads(const Heads& heads, LayerContext& context) {
  const auto& [q, k, v] = heads;
  const std::int64_t ranks = context.context_size(), groups = q.size(2) / ranks;
  const std::int64_t queries = q.size(3) * q.size(4), d = k.size(3);
  const at::Tensor joined = at::cat({q.flatten(3), k, v}, 3);
  const at::Tensor own = tokens_to_heads(joined.flatten(2), context)
                             .view({q.size(0) * ranks, q.size(1), groups, joined.size(3)});
  return {own.narrow(3, 0, queries).view({own.size(0), own.size(1), groups, q.size(3), d}),
          own.narrow(3, queries, d), own.narrow(3, queries + d, v.size(3))};
}

}  // namespace

at::Tensor attention(const Heads& heads, const AttentionOptions& options, LayerContext& context) {
  const int ranks = context.context_size();
  if (ranks == 1) return attention_to_own(heads, options, context);
  if (context.context_parallel != ContextParallel::Ulysses)
    return attention_to_blocks(heads, options, context);
  AttentionOptions of_rank = options;
  of_rank.first_head += context.context_rank() * heads.q.size(2) * heads.q.size(3) / ranks;
  return heads_to_tokens(attention_to_own(own_heads(heads, context), of_rank, context), context);
}

}  // namespace windtunnel

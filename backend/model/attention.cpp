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

// Source: Vaswani et al.'s base as Su et al. 2021, arXiv:2104.09864, use it; Llama 2.
constexpr double kRotaryBase = 10000;

// x [s, b, g, q, d], or [s, b, g, d], of tokens at `positions` [s]: turns each pair (x_i, x_{i +
// d/2}) by the angle position * base^(-2 i / d).
at::Tensor rotated(const at::Tensor& x, const at::Tensor& positions) {
  const std::int64_t tokens = x.size(0), half = x.size(-1) / 2;
  const at::TensorOptions wide = x.options().dtype(at::kFloat);
  const at::Tensor frequencies =
      at::pow(kRotaryBase, at::arange(half, wide) * (-1.0 / double(half)));
  std::vector<std::int64_t> shape(std::size_t(x.dim()), 1);
  shape.front() = tokens;
  shape.back() = half;
  const at::Tensor angles = at::outer(positions, frequencies).view(shape);
  const at::Tensor cosine = angles.cos().to(x.scalar_type());
  const at::Tensor sine = angles.sin().to(x.scalar_type());
  const at::Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, -1);
}

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

// q [s, b, g, q, d], k and v [s, b, g, d]; returns [s, b, g q d].
at::Tensor unfused_core(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const AttentionOptions& options) {
  const std::int64_t s = q.size(0), b = q.size(1), g = q.size(2), n = q.size(3), d = q.size(4);
  const at::Tensor queries = q.permute({1, 2, 3, 0, 4}).reshape({b * g, n * s, d});
  const at::Tensor keys = k.permute({1, 2, 3, 0}).reshape({b * g, d, s});
  const at::Tensor values = v.permute({1, 2, 0, 3}).reshape({b * g, s, d});
  const at::Tensor bias = score_bias(q, options);
  const at::Tensor scores = bias.defined() ? at::baddbmm(bias, queries, keys, 1, scale_of(q))
                                           : at::bmm(queries * scale_of(q), keys);
  const at::Tensor output = at::bmm(at::softmax(scores, -1), values);
  return output.view({b, g, n, s, d}).permute({3, 0, 1, 2, 4}).reshape({s, b, g * n * d});
}

at::Tensor fused_core(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const AttentionOptions& options) {
  const std::int64_t s = q.size(0), b = q.size(1), g = q.size(2), n = q.size(3), d = q.size(4);
  const auto of_all_heads = [&](const at::Tensor& x) {
    return x.permute({1, 2, 0, 3}).unsqueeze(2).expand({b, g, n, s, d}).reshape({b, g * n, s, d});
  };
  const at::Tensor bias =
      options.alibi ? score_bias(q, options).view({b, g * n, s, s}) : at::Tensor();
  const at::Tensor output =
      fused_attention(q.permute({1, 2, 3, 0, 4}).reshape({b, g * n, s, d}), of_all_heads(k),
                      of_all_heads(v), bias, options.causal && !options.alibi);
  return output.permute({2, 0, 1, 3}).reshape({s, b, g * n * d});
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

struct Heads {
  at::Tensor q, k, v;  // [s, b, g, q, d] and [s, b, g, d]
};

// Of qkv [s, b, g (q + 2) d], for tokens at `positions` [s].
Heads heads_of(const at::Tensor& qkv, std::int64_t kv_heads, std::int64_t head_size,
               const AttentionOptions& options, const at::Tensor& positions) {
  const std::int64_t queries = qkv.size(2) / (kv_heads * head_size) - 2;
  const at::Tensor all = qkv.view({qkv.size(0), qkv.size(1), kv_heads, queries + 2, head_size});
  const at::Tensor q = all.narrow(3, 0, queries), k = all.select(3, queries);
  const at::Tensor v = all.select(3, queries + 1);
  if (!options.rotary) return {q, k, v};
  return {rotated(q, positions), rotated(k, positions), v};
}

at::Tensor positions_of(std::int64_t tokens, const at::Tensor& qkv) {
  return at::arange(tokens, qkv.options().dtype(at::kFloat));
}

// With all tokens of these heads on this rank.
at::Tensor attention_to_own(const at::Tensor& qkv, std::int64_t kv_heads, std::int64_t head_size,
                            const AttentionOptions& options, const LayerContext& context) {
  const auto [q, k, v] =
      heads_of(qkv, kv_heads, head_size, options, positions_of(qkv.size(0), qkv));
  if (is_fused(context.attention) && kHasFusedAttention) return fused_core(q, k, v, options);
  if (context.selective_recompute && context.attention == AttentionKernel::Unfused)
    return RecomputedCore::apply(q, k, v, options);
  return unfused_core(q, k, v, options);
}

// With this rank's tokens of all heads.
at::Tensor attention_to_blocks(const at::Tensor& qkv, std::int64_t kv_heads, std::int64_t head_size,
                               const AttentionOptions& options, LayerContext& context) {
  SIM_CHECK(options.causal, "context parallelism shares a causal square");
  const at::Tensor positions = positions_of(qkv.size(0) * context.context_size(), qkv);
  const auto [q, k, v] =
      heads_of(qkv, kv_heads, head_size, options, own_tokens(positions, context));
  const at::Tensor slopes =
      options.alibi ? alibi_slopes(kv_heads, q.size(3), options).to(q.device()) : at::Tensor();
  return block_attention(q, k, v, slopes, context);
}

}  // namespace

at::Tensor attention(const at::Tensor& qkv, std::int64_t kv_heads, std::int64_t head_size,
                     const AttentionOptions& options, LayerContext& context) {
  const int ranks = context.context_size();
  if (ranks == 1) return attention_to_own(qkv, kv_heads, head_size, options, context);
  if (context.context_parallel != ContextParallel::Ulysses)
    return attention_to_blocks(qkv, kv_heads, head_size, options, context);
  const std::int64_t queries = qkv.size(2) / head_size - 2 * kv_heads;
  AttentionOptions of_rank = options;
  of_rank.first_head += context.context_rank() * queries / ranks;
  const at::Tensor own_heads = tokens_to_heads(qkv, context);
  return heads_to_tokens(attention_to_own(own_heads, kv_heads / ranks, head_size, of_rank, context),
                         context);
}

}  // namespace windtunnel

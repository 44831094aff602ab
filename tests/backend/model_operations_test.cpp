// Operations with a backward pass of their own, against LibTorch's or the definition.
#include "backend/catch.hpp"

#include <cmath>

#include "backend/model/attention.hpp"
#include "backend/model/operations.hpp"
#include "backend/model/tensor_parallel.hpp"
#include "model_runs.hpp"

namespace windtunnel {
namespace {

using Function = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

// Values and gradients with respect to every input, for an output gradient that is not uniform.
void check_same(const std::vector<std::vector<std::int64_t>>& shapes, const Function& actual,
                const Function& expected) {
  at::manual_seed(1);
  std::vector<at::Tensor> inputs;
  for (const auto& shape : shapes) inputs.push_back(at::randn(shape).set_requires_grad(true));
  const at::Tensor a = actual(inputs), e = expected(inputs);
  CHECK(difference(a.detach(), e.detach()) < 1e-5);
  const at::Tensor gradient = at::randn(e.sizes());
  const auto of_a = torch::autograd::grad({a}, inputs, {gradient});
  const auto of_e = torch::autograd::grad({e}, inputs, {gradient});
  for (std::size_t i = 0; i < inputs.size(); ++i) CHECK(difference(of_a[i], of_e[i]) < 1e-5);
}

// Attention as its definition says, one head at a time.
at::Tensor attention_by_definition(const at::Tensor& qkv, std::int64_t groups, std::int64_t size,
                                   bool causal, const std::vector<double>& slopes) {
  const std::int64_t tokens = qkv.size(0);
  const std::int64_t queries = qkv.size(2) / (groups * size) - 2;
  std::vector<at::Tensor> samples;
  for (std::int64_t b = 0; b < qkv.size(1); ++b) {
    std::vector<at::Tensor> heads;
    for (std::int64_t g = 0; g < groups; ++g) {
      const at::Tensor group =
          qkv.select(1, b).narrow(1, g * (queries + 2) * size, (queries + 2) * size);
      const at::Tensor key = group.narrow(1, queries * size, size);
      const at::Tensor value = group.narrow(1, (queries + 1) * size, size);
      for (std::int64_t q = 0; q < queries; ++q) {
        at::Tensor scores = group.narrow(1, q * size, size).mm(key.t()) / std::sqrt(double(size));
        const at::Tensor position = at::arange(tokens, at::kFloat);
        if (!slopes.empty())
          scores = scores + slopes[std::size_t(g)] * (position - position.unsqueeze(1));
        if (causal)
          scores = scores.masked_fill(position > position.unsqueeze(1),
                                      -std::numeric_limits<double>::infinity());
        heads.push_back(scores.softmax(-1).mm(value));
      }
    }
    samples.push_back(at::cat(heads, 1));
  }
  return at::stack(samples, 1);
}

}  // namespace

TEST_CASE("A linear is LibTorch's", "[model]") {
  LayerContext context;
  check_same(
      {{5, 2, 3}, {4, 3}, {4}},
      [&](const auto& in) { return linear(in[0], in[1], in[2], context); },
      [](const auto& in) { return at::linear(in[0], in[1], in[2]); });
  check_same(
      {{5, 3}, {4, 3}}, [&](const auto& in) { return linear(in[0], in[1], {}, context); },
      [](const auto& in) { return at::linear(in[0], in[1]); });
}

TEST_CASE("A convolution is LibTorch's", "[model]") {
  LayerContext context;
  check_same(
      {{2, 3, 9, 9}, {4, 3, 3, 3}, {4}},
      [&](const auto& in) { return convolution(in[0], in[1], in[2], 2, 1, context); },
      [](const auto& in) { return at::conv2d(in[0], in[1], in[2], 2, 1); });
}

TEST_CASE("RMSNorm is its definition", "[model]") {
  check_same(
      {{5, 2, 8}, {8}}, [](const auto& in) { return rms_norm(in[0], in[1], 1e-5); },
      [](const auto& in) {
        return in[0] * at::rsqrt(in[0].square().mean(-1, true) + 1e-5) * in[1];
      });
}

TEST_CASE("Cross entropy is LibTorch's, split over ranks or not", "[model]") {
  const at::Tensor target = at::randint(0, 12, {5, 2}, at::kLong);
  LayerContext context;
  check_same(
      {{5, 2, 12}}, [&](const auto& in) { return split_cross_entropy(in[0], target, context); },
      [&](const auto& in) {
        return at::cross_entropy_loss(in[0].reshape({10, 12}), target.reshape({10}));
      });
}

TEST_CASE("Attention is its definition", "[model]") {
  LayerContext context;
  for (const bool recomputes : {false, true})
    for (const bool causal : {false, true}) {
      context.selective_recompute = recomputes;
      check_same(
          {{6, 3, 2 * (3 + 2) * 4}},
          [&](const auto& in) { return attention(in[0], 2, 4, {causal}, context); },
          [&](const auto& in) { return attention_by_definition(in[0], 2, 4, causal, {}); });
    }
}

// Press et al. 2021: 8 heads have 1/2, 1/4 .. 1/256; 12 heads these and 2^-0.5, 2^-1.5, 2^-2.5,
// 2^-3.5.
TEST_CASE("ALiBi's slopes are the paper's", "[model]") {
  LayerContext context;
  const std::vector<double> all = {
      0.5,       0.25,      1.0 / 8,         1.0 / 16,        1.0 / 32,        1.0 / 64,
      1.0 / 128, 1.0 / 256, std::exp2(-0.5), std::exp2(-1.5), std::exp2(-2.5), std::exp2(-3.5)};
  for (const std::int64_t first : {0, 6}) {
    const AttentionOptions options = {true, false, true, 12, first};
    const std::vector<double> slopes(all.begin() + first, all.begin() + first + 6);
    check_same(
        {{5, 2, 6 * 3 * 2}},
        [&](const auto& in) { return attention(in[0], 6, 2, options, context); },
        [&](const auto& in) { return attention_by_definition(in[0], 6, 2, true, slopes); });
  }
}

// A rotation keeps lengths, leaves position 0 alone, and scores depend on distances only.
TEST_CASE("Rotary positions turn queries and keys by their distance", "[model]") {
  LayerContext context;
  const AttentionOptions options = {.causal = false, .rotary = true};
  // One head of size 2; values that tell the weights: v_j = (j == 0, j == 1).
  const double angle = 1;  // base^0 per position
  at::Tensor qkv = at::zeros({2, 1, 6});
  qkv.select(1, 0).select(1, 0).fill_(1);  // q = (1, 0) everywhere
  qkv.select(1, 0).select(1, 2).fill_(1);  // k = (1, 0) everywhere
  qkv.index_put_(
      {at::tensor({0, 1}, at::kLong), at::tensor({0, 0}, at::kLong), at::tensor({4, 5}, at::kLong)},
      at::ones({2}));
  const at::Tensor weights = attention(qkv, 1, 2, options, context).select(1, 0);
  // Scores: cos(0) = 1 with itself, cos(1) with the other, over sqrt(2).
  const double near = std::exp(1 / std::sqrt(2.0)),
               far = std::exp(std::cos(angle) / std::sqrt(2.0));
  CHECK(weights[0][0].item<double>() == Approx(near / (near + far)));
  CHECK(weights[1][0].item<double>() == Approx(far / (near + far)));
}

}  // namespace windtunnel

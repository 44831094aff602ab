// Operations with a backward pass of their own, against LibTorch's or the definition.
#include "backend/catch.hpp"

#include <cmath>

#include "backend/model/attention.hpp"
#include "backend/model/operations.hpp"
#include "backend/model/rotary.hpp"
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
at::Tensor attention_by_definition(const Heads& heads, bool causal,
                                   const std::vector<double>& slopes) {
  const auto& [q, k, v] = heads;
  const at::Tensor position = at::arange(q.size(0), at::kFloat);
  std::vector<at::Tensor> samples;
  for (std::int64_t b = 0; b < q.size(1); ++b) {
    std::vector<at::Tensor> outputs;
    for (std::int64_t g = 0; g < q.size(2); ++g)
      for (std::int64_t i = 0; i < q.size(3); ++i) {
        const at::Tensor query = q.select(1, b).select(1, g).select(1, i);
        const at::Tensor key = k.select(1, b).select(1, g), value = v.select(1, b).select(1, g);
        at::Tensor scores = query.mm(key.t()) / std::sqrt(double(q.size(4)));
        if (!slopes.empty())
          scores = scores + slopes[std::size_t(g)] * (position - position.unsqueeze(1));
        if (causal)
          scores = scores.masked_fill(position > position.unsqueeze(1),
                                      -std::numeric_limits<double>::infinity());
        outputs.push_back(scores.softmax(-1).mm(value));
      }
    samples.push_back(at::cat(outputs, 1));
  }
  return at::stack(samples, 1);
}

Heads heads_of(const std::vector<at::Tensor>& inputs) {
  return {inputs[0], inputs[1], inputs[2]};
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

// Values of another size than queries and keys.
TEST_CASE("Attention is its definition", "[model]") {
  LayerContext context;
  for (const bool recomputes : {false, true})
    for (const bool causal : {false, true}) {
      context.selective_recompute = recomputes;
      check_same(
          {{6, 3, 2, 3, 4}, {6, 3, 2, 4}, {6, 3, 2, 5}},
          [&](const auto& in) { return attention(heads_of(in), {causal}, context); },
          [&](const auto& in) { return attention_by_definition(heads_of(in), causal, {}); });
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
    const AttentionOptions options = {true, true, 12, first};
    const std::vector<double> slopes(all.begin() + first, all.begin() + first + 6);
    check_same(
        {{5, 2, 6, 1, 2}, {5, 2, 6, 2}, {5, 2, 6, 2}},
        [&](const auto& in) { return attention(heads_of(in), options, context); },
        [&](const auto& in) { return attention_by_definition(heads_of(in), true, slopes); });
  }
}

// A rotation leaves position 0 alone, and products depend on distances only.
TEST_CASE("Rotary positions turn features by their distance", "[model]") {
  // One pair of features, (1, 0) everywhere: base^0 = 1, so an angle of 1 a position.
  at::Tensor x = at::zeros({4, 1, 2});
  x.select(2, 0).fill_(1);
  const at::Tensor turned = rotated(x, at::tensor({0, 1, 0, 1}, at::kLong)).select(1, 0);
  CHECK(difference(turned[0], at::tensor({1.f, 0.f})) < 1e-6);
  CHECK(turned[1].dot(turned[0]).item<double>() == Approx(std::cos(1.0)));
  CHECK(turned[1].equal(turned[3]));
  const at::Tensor pairs = at::randn({9, 2, 3, 8});
  const at::Tensor near = rotated(pairs, at::arange(9, at::kLong));
  const at::Tensor far = rotated(pairs, at::arange(5, 14, at::kLong));
  CHECK(difference((near[7] * near[2]).sum(-1), (far[7] * far[2]).sum(-1)) < 1e-5);
}

}  // namespace windtunnel

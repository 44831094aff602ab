// Linears of blocks that only some models have, against their definitions.
#include "backend/catch.hpp"

#include "backend/model/head_projection.hpp"
#include "backend/model/operations.hpp"
#include "backend/model/rotary.hpp"
#include "backend/model/split_linear.hpp"
#include "model_runs.hpp"

namespace windtunnel {
namespace {

constexpr double kEpsilon = 1e-5;

at::Tensor norm_of(const at::Tensor& x) {
  return rms_norm(x, at::ones({x.size(-1)}), kEpsilon);
}

}  // namespace

TEST_CASE("Norms of queries and keys are over the features of a head", "[model]") {
  const BlockShape shape = {.hidden = 8,
                            .heads = 4,
                            .kv_heads = 2,
                            .head_size = 6,
                            .rotary = true,
                            .biased = false,
                            .qk_norm = true};
  LayerContext context;
  ParameterDraws draws(context, 1, 0);
  const auto project = make_joined_projection(draws, shape, kEpsilon, context);
  const Heads heads = (*project)(at::randn({5, 3, 8}) * 100);
  CHECK(heads.q.sizes().vec() == std::vector<std::int64_t>{5, 3, 2, 2, 6});
  CHECK(heads.k.sizes().vec() == std::vector<std::int64_t>{5, 3, 2, 6});
  // Rotations keep lengths; the weights are 1.
  for (const at::Tensor& x : {heads.q, heads.k})
    CHECK((x.square().mean(-1) - 1).abs().max().item<double>() < 1e-3);
  CHECK((heads.v.square().mean(-1) - 1).abs().max().item<double>() > 0.1);
}

// DeepSeek-V2, arXiv:2405.04434, equations 9 to 11 and 14 to 17: positions are apart from what the
// narrow states give, and all heads share a key's.
TEST_CASE("Latent attention's heads are the paper's", "[model]") {
  BlockShape shape = {.hidden = 8, .heads = 3, .kv_heads = 3, .head_size = 6};
  shape.latent = {.kv_rank = 5, .query_rank = 4, .rope = 2, .value = 3};
  LayerContext context;
  ParameterDraws draws(context, 1, 0);
  const auto project = make_latent_projection(draws, shape, kEpsilon, context);
  const std::vector<at::Tensor> weights = project->parameters();
  const at::Tensor x = at::randn({7, 2, 8}), positions = at::arange(7, at::kLong);
  const Heads heads = (*project)(x);

  const at::Tensor queries =
      at::linear(norm_of(at::linear(x, weights[0])), weights[2]).view({7, 2, 3, 6});
  const at::Tensor narrow = at::linear(x, weights[3]);
  const at::Tensor pairs =
      at::linear(norm_of(narrow.narrow(2, 0, 5)), weights[5]).view({7, 2, 3, 4 + 3});
  const at::Tensor shared = rotated(narrow.narrow(2, 5, 2), positions);
  for (int head = 0; head < 3; ++head) {
    const at::Tensor q = heads.q.select(2, head).select(2, 0), k = heads.k.select(2, head);
    const at::Tensor query = queries.select(2, head), pair = pairs.select(2, head);
    CHECK(difference(q.narrow(2, 0, 4), query.narrow(2, 0, 4)) < 1e-5);
    CHECK(difference(q.narrow(2, 4, 2), rotated(query.narrow(2, 4, 2), positions)) < 1e-5);
    CHECK(difference(k.narrow(2, 0, 4), pair.narrow(2, 0, 4)) < 1e-5);
    CHECK(difference(k.narrow(2, 4, 2), shared) < 1e-5);
    CHECK(difference(heads.v.select(2, head), pair.narrow(2, 4, 3)) < 1e-5);
  }
}

TEST_CASE("A linear with its adapter is one of W + 2 B A, of which only B and A are trained",
          "[model]") {
  LayerContext context;
  for (const LinearSplit split : {LinearSplit::Columns, LinearSplit::Rows}) {
    ParameterDraws draws(context, 1, 0, true);
    SplitLinear both = {split};
    both.weight = draws.normal({6, 4});
    draws.begin_trained();
    both.adapter.emplace(draws, 2, 4, 6, split, context);
    const at::Tensor down = both.adapter->parameters()[0], up = both.adapter->parameters()[1];
    const at::Tensor x = at::randn({5, 3, 4});
    CHECK(both(x, context).equal(at::linear(x, both.weight)));  // B starts at zero
    {
      const at::NoGradGuard no_gradients;
      up.copy_(at::randn({6, 2}));
    }
    const at::Tensor merged = both.weight + 2 * up.mm(down);
    CHECK(difference(both(x, context), at::linear(x, merged)) < 1e-5);
    CHECK_FALSE(both.weight.requires_grad());
    CHECK((down.requires_grad() && up.requires_grad()));
  }
}

}  // namespace windtunnel

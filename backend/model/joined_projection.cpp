#include "backend/model/context_parallel.hpp"
#include "backend/model/head_projection.hpp"
#include "backend/model/norm.hpp"
#include "backend/model/packed_samples.hpp"
#include "backend/model/rotary.hpp"
#include "backend/model/split_linear.hpp"

namespace windtunnel {
namespace {

class JoinedProjection : public HeadProjection {
 public:
  JoinedProjection(ParameterDraws& draws, const BlockShape& shape, double epsilon,
                   LayerContext& context)
      : shape_(shape), context_(context) {
    linear_.weight = draws.normal({features(), shape.hidden}, Split::First);
    if (shape.biased) linear_.bias = draws.constant(features(), 0, Split::First);
    if (!shape.qk_norm) return;
    query_norm_ = drawn_norm(draws, shape.head_size, epsilon, false);
    key_norm_ = drawn_norm(draws, shape.head_size, epsilon, false);
  }

  std::vector<at::Tensor> parameters() const override {
    std::vector<at::Tensor> list = {linear_.weight};
    if (shape_.biased) list.push_back(linear_.bias);
    if (shape_.qk_norm) list.insert(list.end(), {query_norm_.weight, key_norm_.weight});
    return list;
  }

  std::vector<at::Tensor> adapt(ParameterDraws& draws) override {
    if (!shape_.adapters.qkv) return {};
    linear_.adapter.emplace(draws, shape_.adapters.rank, shape_.hidden, features(),
                            LinearSplit::Columns, context_);
    return linear_.adapter->parameters();
  }

  Heads operator()(const at::Tensor& x) override {
    const std::int64_t groups = shape_.kv_heads / context_.tensor_size();
    const std::int64_t queries = shape_.heads / shape_.kv_heads;
    const at::Tensor joined = linear_(x, context_);
    const at::Tensor all =
        joined.view({joined.size(0), joined.size(1), groups, queries + 2, shape_.head_size});
    Heads heads = {all.narrow(3, 0, queries), all.select(3, queries), all.select(3, queries + 1)};
    if (shape_.qk_norm) {
      heads.q = query_norm_(heads.q);
      heads.k = key_norm_(heads.k);
    }
    if (shape_.rotary) {
      const at::Tensor positions = own_positions(joined.size(0), context_);
      heads.q = rotated(heads.q, positions);
      heads.k = rotated(heads.k, positions);
    }
    return heads;
  }

 private:
  std::int64_t features() const { return (shape_.heads + 2 * shape_.kv_heads) * shape_.head_size; }

  BlockShape shape_;
  LayerContext& context_;
  SplitLinear linear_;
  Norm query_norm_, key_norm_;
};

}  // namespace

std::unique_ptr<HeadProjection> make_joined_projection(ParameterDraws& draws,
                                                       const BlockShape& shape, double epsilon,
                                                       LayerContext& context) {
  return std::make_unique<JoinedProjection>(draws, shape, epsilon, context);
}

}  // namespace windtunnel

// Queries, and keys with values, are made of narrow hidden states, which every tensor-parallel rank
// has whole; heads are split. d_r features of a head have rotary positions, and those of the keys
// are one vector for all heads.
// Source: DeepSeek-AI 2024, arXiv:2405.04434, section 2.1.
#include "backend/model/context_parallel.hpp"
#include "backend/model/head_projection.hpp"
#include "backend/model/norm.hpp"
#include "backend/model/packed_samples.hpp"
#include "backend/model/rotary.hpp"
#include "backend/model/tensor_parallel.hpp"

namespace windtunnel {
namespace {

class LatentProjection : public HeadProjection {
 public:
  LatentProjection(ParameterDraws& draws, const BlockShape& shape, double epsilon,
                   LayerContext& context)
      : shape_(shape), context_(context) {
    const LatentShape& latent = shape.latent;
    if (latent.query_rank > 0) {
      query_down_ = draws.normal({latent.query_rank, shape.hidden});
      query_norm_ = drawn_norm(draws, latent.query_rank, epsilon, false);
    }
    const std::int64_t narrow = latent.query_rank > 0 ? latent.query_rank : shape.hidden;
    query_up_ = draws.normal({shape.heads * shape.head_size, narrow}, Split::First);
    pair_down_ = draws.normal({latent.kv_rank + latent.rope, shape.hidden});
    pair_norm_ = drawn_norm(draws, latent.kv_rank, epsilon, false);
    pair_up_ =
        draws.normal({shape.heads * (own_features() + latent.value), latent.kv_rank}, Split::First);
  }

  std::vector<at::Tensor> parameters() const override {
    std::vector<at::Tensor> list;
    if (query_down_.defined()) list = {query_down_, query_norm_.weight};
    list.insert(list.end(), {query_up_, pair_down_, pair_norm_.weight, pair_up_});
    return list;
  }

  std::vector<at::Tensor> adapt(ParameterDraws&) override { return {}; }

  Heads operator()(const at::Tensor& x) override {
    const std::int64_t rank = shape_.latent.kv_rank, rope = shape_.latent.rope;
    const at::Tensor queries = of_heads(column_parallel_linear(
        query_down_.defined() ? query_norm_(linear(x, query_down_, {}, context_)) : x, query_up_,
        {}, context_));
    const at::Tensor narrow = linear(x, pair_down_, {}, context_);
    const at::Tensor pairs = of_heads(
        column_parallel_linear(pair_norm_(narrow.narrow(2, 0, rank)), pair_up_, {}, context_));
    const at::Tensor shared_key = shared_by_ranks(narrow.narrow(2, rank, rope), context_);

    const at::Tensor positions = own_positions(queries.size(0), context_);
    const auto turned = [&](const at::Tensor& q) {
      return at::cat(
          {q.narrow(3, 0, own_features()), rotated(q.narrow(3, own_features(), rope), positions)},
          3);
    };
    const at::Tensor key = rotated(shared_key, positions).unsqueeze(2);
    return {turned(queries).unsqueeze(3),
            at::cat({pairs.narrow(3, 0, own_features()),
                     key.expand({key.size(0), key.size(1), queries.size(2), rope})},
                    3),
            pairs.narrow(3, own_features(), shape_.latent.value)};
  }

 private:
  // Of a head's query and key: those without positions.
  std::int64_t own_features() const { return shape_.head_size - shape_.latent.rope; }
  // [s, b, f] to [s, b, a/t, features of a head].
  at::Tensor of_heads(const at::Tensor& x) const {
    return x.view({x.size(0), x.size(1), shape_.heads / context_.tensor_size(), -1});
  }

  BlockShape shape_;
  LayerContext& context_;
  at::Tensor query_down_, query_up_;  // [q_r, h] or undefined, [a d/t, q_r or h]
  at::Tensor pair_down_, pair_up_;    // [kv_r + d_r, h], [a (d - d_r + d_v)/t, kv_r]
  Norm query_norm_, pair_norm_;
};

}  // namespace

std::unique_ptr<HeadProjection> make_latent_projection(ParameterDraws& draws,
                                                       const BlockShape& shape, double epsilon,
                                                       LayerContext& context) {
  return std::make_unique<LatentProjection>(draws, shape, epsilon, context);
}

}  // namespace windtunnel

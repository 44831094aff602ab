// What comes before the core of attention: from hidden states to the queries, keys and values of
// this rank's heads, norms and rotary positions included.
#pragma once

#include <memory>
#include <vector>

#include "backend/model/attention.hpp"
#include "backend/model/parameter_draws.hpp"
#include "model/transformer.hpp"

namespace windtunnel {

class HeadProjection {
 public:
  virtual ~HeadProjection() = default;
  // In the order of sim/model's transformer_block_tensors.
  virtual std::vector<at::Tensor> parameters() const = 0;
  // Gives the linear its adapter, with tensors of its own; a shape without one gives none.
  virtual std::vector<at::Tensor> adapt(ParameterDraws& draws) = 0;
  // x [s, b, h], or this rank's tokens of it under sequence parallelism; heads of all tokens (of
  // s/c under context parallelism).
  virtual Heads operator()(const at::Tensor& x) = 0;
};

// One linear onto all three: for each key-value head its queries, its key and its value, as
// Megatron-LM lays them out, so that ranks split whole heads. The context must outlive it.
std::unique_ptr<HeadProjection> make_joined_projection(ParameterDraws& draws,
                                                       const BlockShape& shape, double epsilon,
                                                       LayerContext& context);
// Latent attention: sim/model/latent_attention.hpp.
std::unique_ptr<HeadProjection> make_latent_projection(ParameterDraws& draws,
                                                       const BlockShape& shape, double epsilon,
                                                       LayerContext& context);

}  // namespace windtunnel

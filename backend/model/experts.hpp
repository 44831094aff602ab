// A mixture of experts in place of the MLP: sim/model/moe.hpp. A linear router, softmax over the k
// largest logits in fp32 (Mixtral; Qwen3's and Megatron-LM's default is the same), gated experts
// without biases, and a shared one beside them. No loss that balances the experts.
//
// With `router_bias` a number for each expert shifts the choice, but no weight. Its gradient is not
// of the loss: it is the part of the step's copies that the expert got, less its even part 1/E, so
// that the optimizer takes from whoever got more. Such parts are averaged over ranks as gradients
// are; DeepSeek-V3's sign of the load would need their sum first.
// Sources: Jiang et al. 2024, arXiv:2401.04088, section 2.1; Wang et al. 2024, arXiv:2408.15664
// (its update rule with the load's error in place of the error's sign).
#pragma once

#include <vector>

#include "backend/model/layer_module.hpp"
#include "backend/model/parameter_draws.hpp"
#include "model/transformer.hpp"

namespace windtunnel {

class MixtureOfExperts {
 public:
  // The context must outlive it.
  MixtureOfExperts(ParameterDraws& draws, std::int64_t hidden, const ExpertShape& shape,
                   LayerContext& context);

  // In the order of sim/model's expert_tensors.
  std::vector<at::Tensor> parameters() const;
  // [s, b, h], the tokens that this rank has.
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  double part_of_step() const;

  ExpertShape shape_;
  LayerContext& context_;
  at::Tensor router_, bias_;           // [E, h], [E]; bias undefined: none shifts the choice
  at::Tensor experts_in_;              // of this rank's experts [E/ep, 2 f/et, h]: gate over up
  at::Tensor experts_out_;             // [E/ep, h, f/et]
  at::Tensor shared_in_, shared_out_;  // undefined: there is none
};

}  // namespace windtunnel

// The way of tokens' copies to the ranks that hold their experts, and back: sim/model/moe.hpp's
// dispatch and combine with the counts that a router really chose. No token is dropped.
//
// n = tokens of this rank, k = experts of each. The ranks tell one another how many rows they send
// to each expert (E numbers over the expert group, and those of the expert-tensor group), then the
// rows move by the plan's all-to-all; over an expert-tensor group every rank gets all of its
// members' rows, and on the way back their sum over the members. Nothing depends on who is first.
#pragma once

#include <vector>

#include "backend/model/layer_module.hpp"

namespace windtunnel {

class ExpertDispatch {
 public:
  // chosen [n, k], experts of the whole model. Communicates. The context must outlive it.
  ExpertDispatch(const at::Tensor& chosen, std::int64_t experts, LayerContext& context);

  // [n, h] to this rank's experts' rows [rows, h], one expert after another.
  at::Tensor to_experts(const at::Tensor& tokens) const;
  // [rows, h], of which this rank has its share of a sum over the expert-tensor group, to what
  // became of the tokens' copies [n, k, h].
  at::Tensor to_tokens(const at::Tensor& rows) const;

  const std::vector<std::int64_t>& rows_of_expert() const { return rows_of_expert_; }

 private:
  LayerContext& context_;
  std::int64_t tokens_, per_token_;  // n, k
  at::Tensor by_expert_, by_token_;  // places of the n k copies: either order in the other
  at::Tensor sorted_, arrived_;      // of the rows, by expert and as they come
  std::vector<std::int64_t> sent_, received_;  // rows to and from each rank of the expert group
  std::vector<std::int64_t> of_member_;        // rows of each rank of the expert-tensor group
  std::vector<std::int64_t> rows_of_expert_;
};

}  // namespace windtunnel

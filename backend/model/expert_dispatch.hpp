// The way of tokens' copies to the ranks that hold their experts, and back: sim/model/moe.hpp's
// dispatch and combine with the counts that a router really chose. With a capacity each expert gets
// exactly that many rows of every rank: copies of the least weight are dropped, and zeros fill up,
// as in Megatron-LM (moe_utils.py, drop policy `probs`).
//
// n = tokens of this rank, k = experts of each. The ranks tell one another how many rows they send
// to each expert (E numbers over the expert group, and those of the expert-tensor group), then the
// rows move by the plan's all-to-all; over an expert-tensor group every rank gets all of its
// members' rows, and on the way back their sum over the members. Nothing depends on who is first.
#pragma once

#include <vector>

#include "backend/model/layer_module.hpp"
#include "model/transformer.hpp"

namespace windtunnel {

class ExpertDispatch {
 public:
  // [n, k]: the experts chosen, and their weights. Communicates. The context must outlive it.
  ExpertDispatch(const at::Tensor& chosen, const at::Tensor& weights, const ExpertShape& shape,
                 LayerContext& context);

  // [n, h] to this rank's experts' rows [rows, h], one expert after another.
  at::Tensor to_experts(const at::Tensor& tokens) const;
  // [rows, h], of which this rank has its share of a sum over the expert-tensor group, to what
  // became of the tokens' copies [n, k, h].
  at::Tensor to_tokens(const at::Tensor& rows) const;

  const std::vector<std::int64_t>& rows_of_expert() const { return rows_of_expert_; }

 private:
  void place_all(const at::Tensor& experts, std::int64_t count);
  void place_within_capacity(const at::Tensor& experts, const at::Tensor& weights,
                             std::int64_t count);
  void count_rows(std::int64_t experts);

  LayerContext& context_;
  std::int64_t tokens_, per_token_;  // n, k
  std::int64_t capacity_ = 0;        // rows of each expert; 0: as many as chose it
  // Of the n k copies ordered by expert: which copy is in each place, and the place of each copy.
  // A place or copy behind the last: none.
  at::Tensor by_expert_, by_token_;
  at::Tensor counts_;                          // copies that leave for each expert
  at::Tensor sorted_, arrived_;                // of the rows, by expert and as they come
  std::vector<std::int64_t> sent_, received_;  // rows to and from each rank of the expert group
  std::vector<std::int64_t> of_member_;        // rows of each rank of the expert-tensor group
  std::vector<std::int64_t> rows_of_expert_;
};

}  // namespace windtunnel

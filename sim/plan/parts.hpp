// The actions of a pipeline coordinate cut into parts where a weight gather or a gradient reduction
// must fall between layers.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan_context.hpp"
#include "plan/rank_parameters.hpp"

namespace windtunnel {

inline bool computes_weight_gradient(ActionType type) {
  return type == ActionType::B || type == ActionType::W;
}
inline bool reads_weights(ActionType type) {
  return type != ActionType::W;
}

struct GradientBucket {
  std::int64_t parameters = 0;
  bool expert = false;
  int layer = 0;  // of the tensor that is ready last
};

// Layers of an action that run without a stop on the compute stream.
struct Part {
  Action action;
  LayerRange layers;
  bool opens = true, closes = true;  // first, last part of its action
  bool gather = false;               // ZeRO-3: its weights must be gathered first
  bool release = false;              // ZeRO-3: gathered weights are freed at its end
  bool new_gradients = false;        // ZeRO-2 and 3: makes whole gradients, beside the kept shard
  std::vector<GradientBucket> buckets;  // that are complete at its end
};

// In the order in which the rank runs them.
std::vector<Part> parts_of(const PlanContext& context, const RankParameters& own);

}  // namespace windtunnel

// What all programs of a plan are built from.
#pragma once

#include <vector>

#include "plan/job.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

struct LayerRange {
  int first = 0, end = 0;
};

struct PlanContext {
  const Job& job;
  const Plan& plan;
  std::vector<LayerWork> works;             // by layer
  std::vector<LayerRange> layers_of_stage;  // by virtual stage
};

}  // namespace windtunnel

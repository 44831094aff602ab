// What a predicted and a measured step of one plan have to say to each other, op by op.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

// All ops of one kind over all ranks: a collective of one group and size, transfers of one
// direction, compute of one purpose.
struct OpComparison {
  std::string what;                    // "all_reduce data 26.2 MB", "send activation", "forward"
  int count = 0;                       // in one step, over all ranks
  double predicted = 0, measured = 0;  // mean duration of one, seconds
  double error() const { return measured > 0 ? predicted / measured - 1 : 0; }
};

// Requires one trace of every rank on both sides. In order of first appearance in the plan.
std::vector<OpComparison> op_comparisons(const Plan& plan, const Trace& predicted,
                                         const Trace& measured);

std::string to_text(const std::vector<OpComparison>& rows);

}  // namespace windtunnel

// Private to interchange/: whether a plan that somebody else made runs to its end.
#pragma once

#include <optional>

#include "plan/plan.hpp"

namespace windtunnel {

struct OpOfRank {
  int rank = 0, op = 0;
};

// The first op, by rank and then in program order, that can never begin; nothing if all can. Of a
// plan with one program for each rank, compute ops in order and the others on the Transfers stream,
// in which the n-th collective of a listed group on one member is the n-th on all, and every
// message has a Send and a Receive.
std::optional<OpOfRank> first_stuck(const Plan& plan);

}  // namespace windtunnel

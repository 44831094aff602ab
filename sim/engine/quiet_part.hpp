// The part of a step in which ranks communicate inside layers and between stages only.
#pragma once

#include <vector>

#include "plan/plan.hpp"

namespace windtunnel {

// By program: the last of its compute ops that has surely ended before any rank begins a collective
// that is an op by itself; -1: none has.
//
// Such a collective waits for a backward pass of the last micro-batch. That needs the loss, which
// needs the forward passes of that micro-batch on all stages, and these come after everything that
// stands before them on their own ranks. True where the ranks of a program run alike: only those
// of one pipeline wait for one another.
std::vector<int> quiet_until(const Plan& plan);

}  // namespace windtunnel

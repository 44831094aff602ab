// A plan whose only op is one collective, and every level of fidelity to run it at.
#pragma once

#include <array>

#include "engine/simulate.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

inline constexpr std::array kFidelities = {Fidelity::Folded, Fidelity::Stage, Fidelity::Full,
                                           Fidelity::Rounds};

// Over the data-parallel groups of tensor x data ranks.
inline Plan one_collective(CollectiveKind kind, double bytes, int data, int tensor = 1) {
  Plan plan;
  plan.grid = {.tensor = tensor, .data = data, .shard_ranks = data};
  plan.programs = {{.ops = {{.kind = OpKind::Collective,
                             .stream = Stream::Communication,
                             .purpose = Purpose::GradientReduction,
                             .group = GroupKind::Data,
                             .collective = kind,
                             .bytes = Bytes(bytes)}}}};
  return plan;
}

}  // namespace windtunnel

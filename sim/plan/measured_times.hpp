// What a job takes from its profile in place of models.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "plan/job.hpp"
#include "plan/plan.hpp"
#include "plan/profile.hpp"

namespace windtunnel {

LayerIdentity layer_identity(const Job& job, int layer);
LayerKin layer_kin(const Job& job, int layer);
std::string optimizer_identity(const Job& job);
CollectivePurpose collective_purpose(GroupKind group, CollectiveKind kind);

// What a simulation takes from the profile of its job.
struct MeasuredTimes {
  struct Pass {
    Seconds time;
    bool other_sizes = false;  // of the layer's kin
  };
  // By layer and pass; empty: none.
  std::vector<std::array<std::optional<Pass>, kPassNames.size()>> layers;
  std::optional<MeasuredCurve> update, norm;  // by bytes of the plan's optimizer and norm
  std::vector<CollectiveTime> collectives;
  std::vector<MessageTime> messages;
  std::vector<SlowdownBeside> slowdowns;

  std::optional<Pass> pass(int layer, ActionType pass) const;
  // Null: not measured. Where the wanted purpose was not measured, the plain collective is taken.
  const MeasuredCurve* collective(GroupKind group, CollectiveKind kind, int ranks, int nodes) const;
  const MeasuredCurve* message(int nodes) const;
  const SlowdownBeside* slowdown(int ranks, int nodes) const;
};
// A pass of a layer that was not measured lies between those of its kin, of the same tensors if
// there are such (a convolution on larger images), else of any (a wider transformer): its time goes
// with a power of the size between two sizes, and in proportion to it beyond the last.
//
// Nothing without a profile. Emulated compute takes its layers' times from the topology, so only
// communication is measured then.
MeasuredTimes measured_times(const Job& job);

// What of the plan the profile has and what the topology's models predict, as lines for the
// terminal; empty without a profile.
std::string profile_coverage(const Job& job, const Plan& plan);

}  // namespace windtunnel

// The null models: what a prediction has to beat to be worth anything. Both are fitted on the
// `calibrate` rows of a table.
//
//   flops:       t = x0 / efficiency
//   regression:  t = c0 x0 + c1 x1 + c2 x2 + c3 x3 + c4 x4, c >= 0, least squares of relative error
//
// With m micro-batches, p stages, v chunks, and b = 1 + (p - 1) / (v m), the bubble formula:
//   x0  seconds of all FLOPs, recomputed ones too, at peak, times b
//   x1  bytes of a rank's tensor-parallel collectives, times (t - 1) / t and b
//   x2  bytes of its pipeline transfers
//   x3  bytes of its gradient reduction, times (d - 1) / d
//   x4  its kernels, times b: a cost for each
// Few rows cannot carry five coefficients: n rows fit the first n / 2 terms, at least one.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "plan/job.hpp"

namespace windtunnel {

inline constexpr std::size_t kNullTerms = 5;
using NullTerms = std::array<double, kNullTerms>;

NullTerms null_terms(const Job& job);

// Below this no run can be: the FLOPs of the model at peak, attention of causal models counted by
// half and nothing recomputed.
double least_seconds(const Job& job);

// The model's FLOPs with all of the attention square, over those with the causal half: what a time
// is too short by that was computed from a FLOP rate in the wrong convention.
double whole_over_causal_flops(const Job& job);

struct NullSample {
  NullTerms terms{};
  double seconds = 0;
};

struct NullModels {
  double efficiency = 0;
  NullTerms coefficients{};
  double flops_seconds(const NullTerms& terms) const { return terms[0] / efficiency; }
  double regression_seconds(const NullTerms& terms) const;
};
// Nothing without rows to fit.
std::optional<NullModels> fitted_null_models(const std::vector<NullSample>& samples);

}  // namespace windtunnel

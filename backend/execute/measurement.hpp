// How a step time is measured: warm-up, repetitions, and refusal when the machine was not quiet.
#pragma once

#include <string>
#include <vector>

#include "base/units.hpp"

namespace windtunnel {

// Steps before the first that counts, and how many count at least, in at least this time.
inline constexpr int kWarmUpSteps = 3;
inline constexpr int kLeastSteps = 9;
inline constexpr Seconds kLeastTime{1.0};
// A run is quiet if the steps' spread (p90 - p10) / median stays below this; else it is repeated,
// at most this often.
inline constexpr double kLargestSpread = 0.10;
inline constexpr int kAttempts = 3;

struct Distribution {
  double p10 = 0, median = 0, p90 = 0, least = 0;
  std::size_t count = 0;
  double spread() const { return median > 0 ? (p90 - p10) / median : 0; }
};
// Percentiles between the nearest ranks, linearly. Requires values.
Distribution distribution(std::vector<double> values);

// What the machine did meanwhile: processor time that others took, by /proc/stat.
struct ProcessorTimes {
  double busy = 0, steal = 0, total = 0;  // seconds over all cores since boot
};
ProcessorTimes processor_times();

}  // namespace windtunnel

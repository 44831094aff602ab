// When a figure may be believed: repetitions after a warm-up, in passes that must be quiet and
// agree. What does not pass is refused with the reason. Statistics only: no clock, no tensors.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "plan/profile.hpp"

namespace windtunnel {

// A pass is quiet when its spread (p90 - p10) / median stays below kLargestSpread, and two passes
// agree when their medians differ by less than kLargestDisagreement. Figures below 100 us may
// differ by 10 us instead: what an interrupt takes, and nothing to a step.
inline constexpr std::size_t kLeastRepetitions = 5;
inline constexpr double kLargestDisagreement = 0.03;
inline constexpr double kNegligible = 10e-6;  // seconds
inline constexpr int kMostPasses = 3;

struct Judgement {
  Figure figure;      // of the passes that agree; of all where none do
  std::string noise;  // why the figure is refused, or empty
};
// Of passes over one figure, each of at least kLeastRepetitions seconds.
Judgement judgement_of(const std::vector<std::vector<double>>& passes);

// One pass over several figures at once, by name.
using Series = std::map<std::string, std::vector<double>>;
using Judgements = std::map<std::string, Judgement>;

// Passes over several figures, one after another, until every figure is quiet, at most kMostPasses.
class Passes {
 public:
  void add(Series pass);
  bool done() const;
  Judgements judgements() const;

 private:
  int count_ = 0;
  std::map<std::string, std::vector<std::vector<double>>> series_;
};
// Runs them on end.
Judgements judged(const std::function<Series()>& pass);

// Why the machine is not quiet before anything runs: what others take of its processors, of which
// it has `processors`, while this process sleeps. Or empty.
std::string noise_before(double busy_processors, double stolen_processors, double load_average,
                         int processors);

}  // namespace windtunnel

#include "backend/calibrate/protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backend/execute/measurement.hpp"
#include "base/check.hpp"

namespace windtunnel {

namespace {

// Part of a machine's processors that others may use.
constexpr double kLargestUse = 0.05;

bool is_quiet(const Distribution& pass) {
  return pass.spread() < kLargestSpread || pass.p90 - pass.p10 < kNegligible;
}

bool agree(const Distribution& a, const Distribution& b) {
  const double difference = std::abs(a.median - b.median);
  return difference < kLargestDisagreement * std::min(a.median, b.median) ||
         (difference < kNegligible && a.median < 10 * kNegligible);
}

std::string milliseconds(double seconds) {
  return fmt::format("{:.4g} ms", 1e3 * seconds);
}

}  // namespace

Judgement judgement_of(const std::vector<std::vector<double>>& passes) {
  SIM_CHECK(!passes.empty(), "a judgement of nothing");
  std::vector<Distribution> all;
  for (const std::vector<double>& pass : passes) {
    SIM_CHECK(pass.size() >= kLeastRepetitions, "too few repetitions");
    all.push_back(distribution(pass));
  }
  for (std::size_t b = 1; b < all.size(); ++b)
    for (std::size_t a = 0; a < b; ++a)
      if (is_quiet(all[a]) && is_quiet(all[b]) && agree(all[a], all[b])) {
        std::vector<double> both = passes[a];
        both.insert(both.end(), passes[b].begin(), passes[b].end());
        const Distribution pooled = distribution(both);
        return {{Seconds(pooled.median), pooled.spread()}, ""};
      }
  std::vector<double> every;
  for (const std::vector<double>& pass : passes)
    every.insert(every.end(), pass.begin(), pass.end());
  const Distribution pooled = distribution(every), &last = all.back();
  Judgement refused{{Seconds(pooled.median), pooled.spread()}, ""};
  if (all.size() < 2)
    refused.noise = "one pass has none to agree with";
  else if (!is_quiet(last))
    refused.noise = fmt::format(
        "{} repetitions spread by {:.1f} % (p90 - p10 over the median of {}, limit {:.0f} %)",
        last.count, 100 * last.spread(), milliseconds(last.median), 100 * kLargestSpread);
  else
    refused.noise = fmt::format("passes of {} and {} do not agree to {:.0f} %",
                                milliseconds(all[all.size() - 2].median), milliseconds(last.median),
                                100 * kLargestDisagreement);
  return refused;
}

void Passes::add(Series pass) {
  ++count_;
  for (auto& [name, values] : pass) series_[name].push_back(std::move(values));
}

bool Passes::done() const {
  if (count_ >= kMostPasses) return true;
  return count_ > 1 && std::ranges::all_of(judgements(), [](const auto& judgement) {
           return judgement.second.noise.empty();
         });
}

Judgements Passes::judgements() const {
  Judgements result;
  for (const auto& [name, passes] : series_) result[name] = judgement_of(passes);
  return result;
}

Judgements judged(const std::function<Series()>& pass) {
  Passes passes;
  while (!passes.done()) passes.add(pass());
  return passes.judgements();
}

std::string noise_before(double busy_processors, double stolen_processors, double load_average,
                         int processors) {
  if (busy_processors > kLargestUse * processors)
    return fmt::format("others use {:.2f} of the {} processors (load average {:.2f})",
                       busy_processors, processors, load_average);
  if (stolen_processors > kLargestUse * processors)
    return fmt::format("the hypervisor takes {:.2f} of the {} processors away", stolen_processors,
                       processors);
  return "";
}

}  // namespace windtunnel

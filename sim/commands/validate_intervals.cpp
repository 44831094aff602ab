#include "commands/validate_intervals.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "commands/validate_statistics.hpp"

namespace windtunnel {
namespace {

using Runs = std::vector<const PublishedRun*>;

double rounded_quantile(const std::vector<double>& values, double share) {
  constexpr double kDecimals = 1e4;
  return std::round(quantile(values, share) * kDecimals) / kDecimals;
}

RunClass class_of_runs(const Runs& runs) {
  RunClass found{.runs = int(runs.size())};
  std::vector<double> ratios;
  std::set<std::string> precisions, families;
  for (const PublishedRun* run : runs) {
    ratios.push_back(run->ratio);
    precisions.insert(run->traits.precision);
    families.insert(run->traits.family);
    for (std::size_t i = 0; i < kRunSizes; ++i) {
      const auto& size = run->traits.sizes[i];
      auto& range = found.sizes[i];
      if (!size) continue;
      if (!range) range = {*size, *size};
      range->from = std::min(range->from, *size);
      range->to = std::max(range->to, *size);
    }
  }
  constexpr double kLow = 0.1, kHigh = 0.9;
  found.p10 = rounded_quantile(ratios, kLow);
  found.p90 = rounded_quantile(ratios, kHigh);
  found.precisions.assign(precisions.begin(), precisions.end());
  found.families.assign(families.begin(), families.end());
  return found;
}

}  // namespace

std::vector<PublishedRun> published_runs(const Validation& validation, const Rules& rules) {
  std::vector<PublishedRun> runs;
  for (const ValidatedRow& row : validation.rows) {
    if (!row.is_timed()) continue;
    const Job job = job_of(row.mapped, row.outcome.recompute, row.outcome.micro_batch, rules);
    runs.push_back({run_traits(job), row.pair().published / row.pair().predicted});
  }
  return runs;
}

std::vector<RunClass> run_classes(std::span<const PublishedRun> runs) {
  std::map<std::string, std::map<ParallelismKind, Runs>> of_kind;
  std::map<std::string, Runs> of_card;
  Runs all;
  for (const PublishedRun& run : runs) {
    of_kind[run.traits.card][run.traits.parallelism].push_back(&run);
    of_card[run.traits.card].push_back(&run);
    all.push_back(&run);
  }
  std::vector<RunClass> classes;
  const auto add = [&](const std::string& card, std::optional<ParallelismKind> kind,
                       const Runs& members) {
    RunClass& added = classes.emplace_back(class_of_runs(members));
    added.card = card;
    added.parallelism = kind;
  };
  for (const auto& [card, kinds] : of_kind)
    for (const auto& [kind, members] : kinds) add(card, kind, members);
  for (const auto& [card, members] : of_card) add(card, std::nullopt, members);
  if (!all.empty()) add("", std::nullopt, all);
  return classes;
}

}  // namespace windtunnel

#include "commands/validate_residuals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <vector>

#include "base/work.hpp"
#include "commands/validate_statistics.hpp"
#include "report/run_classes.hpp"

namespace windtunnel {
namespace {

constexpr std::size_t kLeastRows = 8;
constexpr double kLow = 0.1, kHigh = 0.9;

// Card, format, family, parallelism.
using Kind = std::tuple<std::string, std::string, std::string, ParallelismKind>;

std::string line(const std::string& table, const Kind& kind, const std::vector<double>& errors) {
  std::vector<double> sizes(errors.size());
  std::ranges::transform(errors, sizes.begin(), [](double error) { return std::abs(error); });
  const auto& [card, precision, family, parallelism] = kind;
  return fmt::format("| {} | {} | {} | {} | {} | {} | {:.1f} | {:+.1f} | {:+.1f} to {:+.1f} |\n",
                     table, card, precision, family, name_of(kParallelismKindNames, parallelism),
                     errors.size(), 100 * mean(sizes), 100 * mean(errors),
                     100 * quantile(errors, kLow), 100 * quantile(errors, kHigh));
}

}  // namespace

std::string residuals_markdown(const Validation& validation, const Rules& rules) {
  std::map<std::string, std::map<Kind, std::vector<double>>> tables;
  for (const ValidatedRow& row : validation.rows) {
    if (!row.is_timed()) continue;
    const RunTraits traits =
        run_traits(job_of(row.mapped, row.outcome.recompute, row.outcome.micro_batch, rules));
    tables[row.table][{traits.card, traits.precision, traits.family, traits.parallelism}].push_back(
        row.pair().error());
  }
  std::string text;
  for (const std::string& table : validation.tables) {
    std::vector<std::pair<Kind, std::vector<double>>> kinds;
    for (const auto& kind : tables[table])
      if (kind.second.size() >= kLeastRows) kinds.emplace_back(kind);
    std::ranges::stable_sort(kinds, std::ranges::greater(),
                             [](const auto& kind) { return kind.second.size(); });
    for (const auto& [kind, errors] : kinds) text += line(table, kind, errors);
  }
  if (text.empty()) return text;
  return "\nErrors of runs that are alike, predicted over published less one:\n\n"
         "| table | card | format | family | parallel | rows | MAPE % | bias % | p10 to p90 % |\n"
         "|---|---|---|---|---|---:|---:|---:|---:|\n" +
         text;
}

}  // namespace windtunnel

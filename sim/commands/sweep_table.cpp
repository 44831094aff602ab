#include "commands/sweep_table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "report/format.hpp"

namespace windtunnel {
namespace {

std::string shown(const Number& number, const auto& text) {
  return number ? text(*number) : "-";
}

// Cells of one row, in the order of titles().
std::vector<std::string> cells(const SweepPoints& sweep, const SweepPoint& point) {
  std::vector<std::string> cells = point.values;
  const auto seconds = [](double value) { return readable_time(Seconds(value)); };
  const auto times = [](double value) { return fmt::format("{:.2f}", value); };
  cells.push_back(point.status);
  cells.push_back(shown(point.step, seconds));
  cells.push_back(shown(point.throughput, readable_count));
  cells.push_back(shown(point.speed_up, times));
  if (sweep.varies_gpus) cells.push_back(shown(point.efficiency, readable_share));
  cells.push_back(shown(point.mfu, readable_share));
  cells.push_back(shown(point.bubble, readable_share));
  const Number memory =
      point.memory && point.capacity ? Number(*point.memory / *point.capacity) : std::nullopt;
  cells.push_back(shown(memory, readable_share));
  if (sweep.has_price)
    cells.push_back(shown(point.usd, [](double value) { return readable_usd(Usd(value)); }));
  return cells;
}

std::vector<std::string> titles(const SweepPoints& sweep) {
  std::vector<std::string> titles = sweep.keys;
  for (const char* title : {"status", "step time"}) titles.emplace_back(title);
  titles.push_back(fmt::format("{}/s", sweep.unit()));
  titles.emplace_back("speed-up");
  if (sweep.varies_gpus) titles.emplace_back("efficiency");
  for (const char* title : {"MFU", "bubble", "memory"}) titles.emplace_back(title);
  if (sweep.has_price) titles.push_back(fmt::format("$/M {}", sweep.unit()));
  return titles;
}

void add_scaling_findings(std::vector<std::string>& findings, const SweepPoints& sweep,
                          const SweepSeries& series) {
  const std::string prefix = series.name.empty() ? "" : series.name + ": ";
  if (series.points.size() < 2) return;
  findings.push_back(fmt::format("{}{}", prefix, name_of(series.scaling)));
  findings.push_back(
      fmt::format("{}knee: {} GPUs, the most with an efficiency of at least {:.0f} %{}", prefix,
                  *sweep.points[series.knee].gpus, 100 * kKnee,
                  series.is_knee_largest ? "; the largest that was tried" : ""));
}

std::string cheapest(const SweepPoints& sweep) {
  if (!sweep.cheapest) return "no case was simulated";
  const SweepPoint& best = sweep.points[*sweep.cheapest];
  const double million = 1e6 * best.cost();
  const std::string cost = sweep.has_price ? readable_usd(Usd(million))
                                           : readable_time(Seconds(million)) + " of GPU time";
  return fmt::format("cheapest: {}, {} per million {}{}", sweep.name_of(*sweep.cheapest), cost,
                     sweep.unit(), sweep.has_price ? "" : " (the job has no price)");
}

std::vector<std::string> findings(const SweepPoints& sweep) {
  std::vector<std::string> findings;
  if (!sweep.series.empty())
    findings.push_back(fmt::format("speed-up: {}/s over that of the first row that ran{}{}",
                                   sweep.unit(),
                                   sweep.series.size() > 1 ? " in the same series" : "",
                                   sweep.varies_gpus ? "; efficiency: the same per GPU" : ""));
  if (sweep.varies_gpus)
    for (const SweepSeries& series : sweep.series) add_scaling_findings(findings, sweep, series);
  findings.push_back(cheapest(sweep));
  return findings;
}

std::string laid_out(const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::size_t> widths(lines.front().size());
  for (const auto& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  std::string out;
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i)
      out += fmt::format("{}{:>{}}", i == 0 ? "" : "  ", line[i], widths[i]);
    out += "\n";
  }
  return out;
}

}  // namespace

std::string_view name_of(Scaling scaling) {
  switch (scaling) {
    case Scaling::Strong:
      return "strong scaling: the batch stays";
    case Scaling::Weak:
      return "weak scaling: the batch grows with the GPUs";
    case Scaling::Neither:
      break;
  }
  return "scaling: the batch neither stays nor grows with the GPUs";
}

SweepTable sweep_table(const SweepPoints& sweep) {
  SweepTable shown{.titles = titles(sweep), .findings = findings(sweep)};
  for (std::size_t i = 0; i < sweep.points.size(); ++i) {
    const SweepPoint& point = sweep.points[i];
    shown.rows.push_back(cells(sweep, point));
    if (!point.reason.empty())
      shown.failures.push_back(fmt::format("{}: {}", sweep.name_of(i), point.reason));
  }
  return shown;
}

std::string to_text(const SweepTable& table) {
  std::vector<CsvRow> lines = {table.titles};
  lines.insert(lines.end(), table.rows.begin(), table.rows.end());
  std::string out = laid_out(lines);
  if (!table.failures.empty()) out += "\nnot simulated:\n";
  for (const std::string& failure : table.failures) out += "  " + failure + "\n";
  out += "\n";
  for (const std::string& finding : table.findings) out += finding + "\n";
  return out;
}

}  // namespace windtunnel

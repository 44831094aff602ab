// What predictions of collectives are worth: by system, collective and size.
#include "commands/validate_collectives.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>

#include "commands/csv.hpp"

namespace windtunnel {
namespace {

struct Band {
  double below;  // bytes
  std::string_view name;
};
constexpr double kKiB = 1024, kMiB = kKiB * 1024, kGiB = kMiB * 1024;
constexpr std::array<Band, 5> kBands = {{{32 * kKiB, "below 32 KiB"},
                                         {kMiB, "32 KiB to 1 MiB"},
                                         {32 * kMiB, "1 to 32 MiB"},
                                         {kGiB, "32 MiB to 1 GiB"},
                                         {1e300, "from 1 GiB"}}};

std::size_t band_of(double bytes) {
  std::size_t band = 0;
  while (bytes >= kBands[band].below) ++band;
  return band;
}

std::string percent(double value, bool with_sign = false) {
  return with_sign ? fmt::format("{:+.1f}", 100 * value) : fmt::format("{:.1f}", 100 * value);
}

// The rows' own error, and that of the leave-one-system-out correction.
std::vector<std::string> figures(const std::vector<const CollectiveRow*>& rows) {
  std::vector<Pair> pairs, fitted;
  double predicted = 0, measured = 0;
  for (const CollectiveRow* row : rows) {
    pairs.push_back(row->seconds);
    predicted += std::log(row->seconds.predicted);
    measured += std::log(row->seconds.published);
    if (row->fitted) fitted.push_back({*row->fitted, row->seconds.published});
  }
  const auto errors = error_summary(pairs), corrected = error_summary(fitted);
  const double count = double(rows.size());
  const auto microseconds = [&](double log_sum) {
    return fmt::format("{:.4g}", 1e6 * std::exp(log_sum / count));
  };
  return {fmt::format("{}", rows.size()), microseconds(predicted),
          microseconds(measured),         percent(errors->mape),
          percent(errors->bias, true),    corrected ? percent(corrected->mape) : "-"};
}

using Line = std::vector<std::string>;

const Line& headings() {
  static const Line line = {"system", "collective",   "size",
                            "rows",   "predicted us", "measured us",
                            "MAPE %", "bias %",       "fitted elsewhere %"};
  return line;
}

std::vector<Line> lines_of(const std::vector<CollectiveRow>& rows) {
  using Key = std::tuple<std::string, CollectiveKind, std::size_t>;
  std::map<Key, std::vector<const CollectiveRow*>> cells;
  std::map<std::pair<CollectiveKind, std::size_t>, std::vector<const CollectiveRow*>> sums;
  std::vector<const CollectiveRow*> all;
  for (const CollectiveRow& row : rows) {
    if (!row.refusal.empty()) continue;
    const std::size_t band = band_of(row.bytes);
    const std::string place =
        fmt::format("{}, {} x {}", row.system, row.nodes, row.ranks / row.nodes);
    cells[{place, row.kind, band}].push_back(&row);
    sums[{row.kind, band}].push_back(&row);
    all.push_back(&row);
  }
  std::vector<Line> lines;
  const auto add = [&](const std::string& place, std::string_view kind, std::string_view band,
                       const std::vector<const CollectiveRow*>& list) {
    Line line = {place, std::string(kind), std::string(band)};
    for (std::string& figure : figures(list)) line.push_back(std::move(figure));
    lines.push_back(std::move(line));
  };
  for (const auto& [key, list] : cells)
    add(std::get<0>(key), name_of(kCollectiveKindNames, std::get<1>(key)),
        kBands[std::get<2>(key)].name, list);
  for (const auto& [key, list] : sums)
    add("all", name_of(kCollectiveKindNames, key.first), kBands[key.second].name, list);
  if (!all.empty()) add("all", "all", "all", all);
  return lines;
}

std::map<std::string, int> refusals(const std::vector<CollectiveRow>& rows) {
  std::map<std::string, int> count;
  for (const CollectiveRow& row : rows)
    if (!row.refusal.empty()) ++count[row.refusal];
  return count;
}

}  // namespace

std::string collectives_text(const std::vector<CollectiveRow>& rows) {
  std::vector<Line> lines = lines_of(rows);
  lines.insert(lines.begin(), headings());
  std::vector<std::size_t> widths(headings().size());
  for (const Line& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  std::string text;
  constexpr std::size_t kTexts = 3;
  for (const Line& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i)
      text += i < kTexts
                  ? fmt::format("{:<{}}  ", line[i], widths[i])
                  : fmt::format("{:>{}}{}", line[i], widths[i], i + 1 < line.size() ? "  " : "\n");
  }
  for (const auto& [reason, count] : refusals(rows))
    text += fmt::format("{:>6}  {}\n", count, reason);
  return text;
}

std::string collectives_markdown(const std::vector<CollectiveRow>& rows) {
  std::string text = "|";
  for (const std::string& heading : headings()) text += fmt::format(" {} |", heading);
  text += "\n|---|---|---|---:|---:|---:|---:|---:|---:|\n";
  for (const Line& line : lines_of(rows)) {
    text += "|";
    for (const std::string& cell : line) text += fmt::format(" {} |", cell);
    text += "\n";
  }
  text += "\n| rows not predicted | why |\n|---:|---|\n";
  for (const auto& [reason, count] : refusals(rows))
    text += fmt::format("| {} | {} |\n", count, reason);
  return text;
}

std::string collectives_csv(const std::vector<CollectiveRow>& rows) {
  std::string text =
      "table,row,system,collective,nodes,ranks,bytes,measured_s,predicted_s,fitted_s,reason\n";
  for (const CollectiveRow& row : rows) {
    const bool predicted = row.refusal.empty();
    text += csv_line({row.table, row.name, row.system,
                      std::string(name_of(kCollectiveKindNames, row.kind)),
                      fmt::format("{}", row.nodes), fmt::format("{}", row.ranks),
                      fmt::format("{:.0f}", row.bytes), fmt::format("{}", row.seconds.published),
                      predicted ? fmt::format("{}", row.seconds.predicted) : "",
                      row.fitted ? fmt::format("{}", *row.fitted) : "", row.refusal}) +
            "\n";
  }
  return text;
}

}  // namespace windtunnel

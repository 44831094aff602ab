#include "commands/sweep_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "commands/sweep_row.hpp"
#include "report/format.hpp"

namespace windtunnel {
namespace {

constexpr double kKnee = 0.8;  // the efficiency that the knee still has

using Number = std::optional<double>;

struct Point {
  std::vector<std::string> values;
  std::string status, reason, series;
  Number gpus, batch, step, throughput, mfu, bubble, memory, capacity, usd;
  Number speed_up, efficiency;
  bool ran() const { return step && throughput && *step > 0; }
  // What a token or a sample costs; without a price the GPU time that it takes.
  double cost() const { return usd ? *usd : *gpus / *throughput; }
};

struct Table {
  std::vector<std::string> keys;
  std::vector<std::size_t> naming;  // the first key of each axis, which names a point
  std::vector<Point> points;
  bool counts_tokens = false, has_price = false, varies_gpus = false;
  std::string_view unit() const { return counts_tokens ? "tokens" : "samples"; }
};

// "../clusters/eos.yaml" -> "eos".
std::string short_value(const std::string& value) {
  const bool is_file = value.ends_with(".yaml") || value.ends_with(".yml");
  return is_file ? std::filesystem::path(value).stem().string() : value;
}

bool moves_gpus(const Axis& axis) {
  return std::find(axis.keys.begin(), axis.keys.end(), "gpus") != axis.keys.end();
}

// What a case has in common with those that differ only in the number of GPUs.
std::string series_of(const std::vector<Axis>& axes, const SweepCase& sweep_case) {
  std::string series;
  std::size_t key = 0;
  for (const Axis& axis : axes)
    for (const std::string& name : axis.keys) {
      const std::string& value = sweep_case.values[key++];
      if (moves_gpus(axis)) continue;
      series += fmt::format("{}{} {}", series.empty() ? "" : ", ", name, short_value(value));
    }
  return series;
}

Point point_of(const std::vector<std::string>& header, const CsvRow& row) {
  const auto number = [&](std::string_view name) {
    return number_in(row[column_of(header, name)]);
  };
  Point point;
  point.status = row[column_of(header, "status")];
  point.reason = row[column_of(header, "reason")];
  point.gpus = number("gpus");
  point.batch = number("global_batch_samples");
  point.step = number("step_time_s");
  point.throughput = number("tokens_per_s");
  point.mfu = number("mfu");
  point.bubble = number("bubble_fraction");
  point.memory = number("memory_peak_bytes");
  point.capacity = number("memory_capacity_bytes");
  point.usd = number("usd_per_million_tokens");
  if (!point.throughput) {
    point.throughput = number("samples_per_s");
    const Number usd = number("usd_per_step");
    if (usd && point.batch) point.usd = *usd * 1e6 / *point.batch;
  }
  return point;
}

void add_scaling(Table& table) {
  std::map<std::string, const Point*> first;
  for (Point& point : table.points) {
    if (!point.ran()) continue;
    const Point& base = *first.try_emplace(point.series, &point).first->second;
    point.speed_up = *point.throughput / *base.throughput;
    if (table.varies_gpus) point.efficiency = *point.speed_up * *base.gpus / *point.gpus;
  }
}

Table table_of(const std::vector<Axis>& axes, const std::vector<SweepCase>& cases,
               const std::vector<std::string>& header, const std::vector<CsvRow>& rows) {
  Table table{.keys = keys_of(axes)};
  std::size_t keys = 0;
  for (const Axis& axis : axes) {
    table.naming.push_back(keys);
    keys += axis.keys.size();
  }
  table.varies_gpus = std::any_of(axes.begin(), axes.end(), moves_gpus);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Point point = point_of(header, rows[i]);
    for (const std::string& value : cases[i].values) point.values.push_back(short_value(value));
    if (table.varies_gpus) point.series = series_of(axes, cases[i]);
    table.has_price |= point.usd.has_value();
    table.counts_tokens |= !rows[i][column_of(header, "tokens_per_s")].empty();
    table.points.push_back(std::move(point));
  }
  add_scaling(table);
  return table;
}

std::string shown(const Number& number, const auto& text) {
  return number ? text(*number) : "-";
}

std::string share(double value) {
  return readable_share(value);
}

// Cells of one row, in the order of titles().
std::vector<std::string> cells(const Table& table, const Point& point) {
  std::vector<std::string> cells = point.values;
  const auto seconds = [](double value) { return readable_time(Seconds(value)); };
  const auto times = [](double value) { return fmt::format("{:.2f}", value); };
  cells.push_back(point.status);
  cells.push_back(shown(point.step, seconds));
  cells.push_back(shown(point.throughput, readable_count));
  cells.push_back(shown(point.speed_up, times));
  if (table.varies_gpus) cells.push_back(shown(point.efficiency, share));
  cells.push_back(shown(point.mfu, share));
  cells.push_back(shown(point.bubble, share));
  const Number memory =
      point.memory && point.capacity ? Number(*point.memory / *point.capacity) : std::nullopt;
  cells.push_back(shown(memory, share));
  if (table.has_price)
    cells.push_back(shown(point.usd, [](double value) { return readable_usd(Usd(value)); }));
  return cells;
}

std::vector<std::string> titles(const Table& table) {
  std::vector<std::string> titles = table.keys;
  for (const char* title : {"status", "step time"}) titles.emplace_back(title);
  titles.push_back(fmt::format("{}/s", table.unit()));
  titles.emplace_back("speed-up");
  if (table.varies_gpus) titles.emplace_back("efficiency");
  for (const char* title : {"MFU", "bubble", "memory"}) titles.emplace_back(title);
  if (table.has_price) titles.push_back(fmt::format("$/M {}", table.unit()));
  return titles;
}

std::string name_of_point(const Table& table, const Point& point) {
  std::string name;
  for (const std::size_t i : table.naming)
    name += fmt::format("{}{} {}", i == 0 ? "" : ", ", table.keys[i], point.values[i]);
  return name;
}

// Whether the batch stays or grows with the GPUs.
std::string kind_of_scaling(const std::vector<const Point*>& points) {
  const auto all = [&](const auto& holds) {
    return std::all_of(points.begin(), points.end(),
                       [&](const Point* point) { return holds(*point, *points.front()); });
  };
  if (all([](const Point& a, const Point& b) { return *a.batch == *b.batch; }))
    return "strong scaling: the batch stays";
  if (all([](const Point& a, const Point& b) { return *a.batch * *b.gpus == *b.batch * *a.gpus; }))
    return "weak scaling: the batch grows with the GPUs";
  return "scaling: the batch neither stays nor grows with the GPUs";
}

void add_scaling_findings(std::vector<std::string>& findings, const std::string& series,
                          const std::vector<const Point*>& points) {
  const std::string prefix = series.empty() ? "" : series + ": ";
  if (points.size() < 2) return;
  findings.push_back(prefix + kind_of_scaling(points));
  const Point* knee = points.front();  // its efficiency is 1
  const Point* largest = points.front();
  for (const Point* point : points) {
    if (*point->gpus > *largest->gpus) largest = point;
    if (*point->efficiency >= kKnee && *point->gpus > *knee->gpus) knee = point;
  }
  findings.push_back(
      fmt::format("{}knee: {} GPUs, the most with an efficiency of at least {:.0f} %{}", prefix,
                  *knee->gpus, 100 * kKnee, knee == largest ? "; the largest that was tried" : ""));
}

std::string cheapest(const Table& table) {
  const Point* best = nullptr;
  for (const Point& point : table.points)
    if (point.ran() && point.usd.has_value() == table.has_price &&
        (best == nullptr || point.cost() < best->cost()))
      best = &point;
  if (best == nullptr) return "no case was simulated";
  const std::string cost = table.has_price
                               ? readable_usd(Usd(*best->usd))
                               : readable_time(Seconds(best->cost() * 1e6)) + " of GPU time";
  return fmt::format("cheapest: {}, {} per million {}{}", name_of_point(table, *best), cost,
                     table.unit(), table.has_price ? "" : " (the job has no price)");
}

std::vector<std::string> findings(const Table& table) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const Point*>> series;
  for (const Point& point : table.points) {
    if (!point.ran()) continue;
    if (series[point.series].empty()) order.push_back(point.series);
    series[point.series].push_back(&point);
  }
  std::vector<std::string> findings;
  if (!order.empty())
    findings.push_back(fmt::format("speed-up: {}/s over that of the first row that ran{}{}",
                                   table.unit(), order.size() > 1 ? " in the same series" : "",
                                   table.varies_gpus ? "; efficiency: the same per GPU" : ""));
  if (table.varies_gpus)
    for (const std::string& name : order) add_scaling_findings(findings, name, series[name]);
  findings.push_back(cheapest(table));
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

SweepTable sweep_table(const std::vector<Axis>& axes, const std::vector<SweepCase>& cases,
                       const std::vector<std::string>& header, const std::vector<CsvRow>& rows) {
  const Table table = table_of(axes, cases, header, rows);
  SweepTable shown{.titles = titles(table), .findings = findings(table)};
  for (const Point& point : table.points) {
    shown.rows.push_back(cells(table, point));
    if (!point.reason.empty())
      shown.failures.push_back(fmt::format("{}: {}", name_of_point(table, point), point.reason));
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

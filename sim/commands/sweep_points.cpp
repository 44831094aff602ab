#include "commands/sweep_points.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "commands/sweep_row.hpp"

namespace windtunnel {
namespace {

// "../clusters/eos.yaml" -> "eos".
std::string short_value(const std::string& value) {
  const bool is_file = value.ends_with(".yaml") || value.ends_with(".yml");
  return is_file ? std::filesystem::path(value).stem().string() : value;
}

// Whether rows that agree in the columns `given` agree in `column` too.
bool is_determined(std::size_t column, const std::vector<std::size_t>& given,
                   const std::vector<CsvRow>& rows) {
  std::map<CsvRow, std::string> known;
  for (const CsvRow& row : rows) {
    CsvRow values;
    for (const std::size_t each : given) values.push_back(row[each]);
    if (known.try_emplace(values, row[column]).first->second != row[column]) return false;
  }
  return true;
}

std::vector<std::size_t> naming_keys(std::size_t keys, const std::vector<CsvRow>& rows) {
  std::vector<std::size_t> naming;
  for (std::size_t key = 0; key < keys; ++key)
    if (!is_determined(key, naming, rows)) naming.push_back(key);
  if (naming.empty() && keys > 0) naming.push_back(0);  // a sweep of one case
  return naming;
}

// The keys whose values a series has in common.
std::vector<std::size_t> series_keys(const std::vector<std::string>& keys,
                                     const std::vector<CsvRow>& rows) {
  const auto gpus = std::size_t(std::find(keys.begin(), keys.end(), "gpus") - keys.begin());
  std::vector<std::size_t> found;
  for (std::size_t key = 0; key < keys.size() && gpus < keys.size(); ++key)
    if (!is_determined(key, {gpus}, rows)) found.push_back(key);
  return found;
}

SweepPoint point_of(const CsvRow& header, const CsvRow& row, std::size_t keys) {
  const auto number = [&](std::string_view name) {
    return number_in(row[column_of(header, name)]);
  };
  SweepPoint point;
  for (std::size_t key = 0; key < keys; ++key) point.values.push_back(short_value(row[key]));
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

Scaling scaling_of(const std::vector<SweepPoint>& points, const SweepSeries& series) {
  const SweepPoint& first = points[series.points.front()];
  const auto all = [&](const auto& holds) {
    return std::all_of(series.points.begin(), series.points.end(),
                       [&](std::size_t i) { return holds(points[i]); });
  };
  if (all([&](const SweepPoint& point) { return point.batch == first.batch; }))
    return Scaling::Strong;
  const auto grows = [&](const SweepPoint& point) {
    return point.batch && first.batch && *point.batch * *first.gpus == *first.batch * *point.gpus;
  };
  return all(grows) ? Scaling::Weak : Scaling::Neither;
}

void add_scaling(SweepPoints& sweep, SweepSeries& series) {
  const SweepPoint& first = sweep.points[series.points.front()];
  for (const std::size_t i : series.points) {
    SweepPoint& point = sweep.points[i];
    point.speed_up = *point.throughput / *first.throughput;
    if (sweep.varies_gpus) point.efficiency = *point.speed_up * *first.gpus / *point.gpus;
  }
  if (!sweep.varies_gpus) return;
  series.scaling = scaling_of(sweep.points, series);
  std::size_t largest = series.knee = series.points.front();  // its efficiency is 1
  const auto has_more = [&](std::size_t a, std::size_t b) {
    return *sweep.points[a].gpus > *sweep.points[b].gpus;
  };
  for (const std::size_t i : series.points) {
    if (has_more(i, largest)) largest = i;
    if (*sweep.points[i].efficiency >= kKnee && has_more(i, series.knee)) series.knee = i;
  }
  series.is_knee_largest = series.knee == largest;
}

void add_series(SweepPoints& sweep, const std::vector<std::size_t>& naming) {
  for (std::size_t i = 0; i < sweep.points.size(); ++i) {
    const SweepPoint& point = sweep.points[i];
    if (!point.ran() || !point.gpus || *point.gpus <= 0) continue;
    std::string name;
    for (const std::size_t key : naming)
      name += fmt::format("{}{} {}", name.empty() ? "" : ", ", sweep.keys[key], point.values[key]);
    auto found = std::find_if(sweep.series.begin(), sweep.series.end(),
                              [&](const SweepSeries& series) { return series.name == name; });
    if (found == sweep.series.end()) found = sweep.series.insert(found, SweepSeries{.name = name});
    found->points.push_back(i);
  }
  for (SweepSeries& series : sweep.series) add_scaling(sweep, series);
}

std::optional<std::size_t> cheapest(const SweepPoints& sweep) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < sweep.points.size(); ++i) {
    const SweepPoint& point = sweep.points[i];
    if (!point.ran() || point.usd.has_value() != sweep.has_price || !(point.usd || point.gpus))
      continue;
    if (!best || point.cost() < sweep.points[*best].cost()) best = i;
  }
  return best;
}

}  // namespace

std::string SweepPoints::name_of(std::size_t point) const {
  std::string name;
  for (const std::size_t key : naming)
    name += fmt::format("{}{} {}", name.empty() ? "" : ", ", keys[key], points[point].values[key]);
  return name;
}

SweepPoints sweep_points(const CsvRow& header, const std::vector<CsvRow>& rows) {
  const auto keys = std::ptrdiff_t(column_of(header, "status"));
  SweepPoints sweep{.keys = {header.begin(), header.begin() + keys}};
  sweep.naming = naming_keys(sweep.keys.size(), rows);
  sweep.varies_gpus = std::find(sweep.keys.begin(), sweep.keys.end(), "gpus") != sweep.keys.end();
  for (const CsvRow& row : rows) {
    sweep.points.push_back(point_of(header, row, sweep.keys.size()));
    sweep.has_price |= sweep.points.back().usd.has_value();
    sweep.counts_tokens |= !row[column_of(header, "tokens_per_s")].empty();
  }
  add_series(sweep, series_keys(sweep.keys, rows));
  sweep.cheapest = cheapest(sweep);
  return sweep;
}

}  // namespace windtunnel

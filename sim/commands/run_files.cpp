#include "commands/run_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "commands/csv.hpp"
#include "commands/files.hpp"
#include "commands/sweep_row.hpp"
#include "config/config_error.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kReadSchemaVersion = 1;  // of report.json; see report/README.md

Json parsed_report(const fs::path& path) {
  Json report = Json::parse(content_or_refuse(path), nullptr, false);
  const auto version = report.is_object() ? report.find("schema_version") : report.end();
  if (!report.is_object() || version == report.end() || !version->is_number_integer())
    refuse_file(path, "not a report.json of windtunnel simulate: no schema_version");
  if (*version != kReadSchemaVersion)
    refuse_file(path, fmt::format("schema_version {}, but this program reads {}: simulate again",
                                  version->dump(), kReadSchemaVersion));
  return report;
}

double number_at(const fs::path& path, const Json& object, const std::string& key) {
  const auto value = object.find(key);
  if (value == object.end() || !value->is_number()) refuse_file(path, "no number '" + key + "'");
  return value->get<double>();
}

void check_sum(const fs::path& path, const TimeParts& parts, double step_time) {
  double sum = 0;
  for (const auto& [cause, seconds] : parts) sum += seconds;
  constexpr double kRounding = 1e-6;
  if (!(std::abs(sum - step_time) <= kRounding * step_time))
    refuse_file(path, fmt::format("the parts of the time sum to {} s, not to the step time of {} s",
                                  sum, step_time));
}

TimeParts critical_parts(const fs::path& path, const Json& report) {
  const auto breakdown = report.find("breakdown_s");
  if (breakdown == report.end() || !breakdown->is_object()) refuse_file(path, "no 'breakdown_s'");
  TimeParts parts;
  for (const auto& [cause, seconds] : breakdown->items())
    parts.emplace_back(cause, number_at(path, *breakdown, cause));
  return parts;
}

// `causes` gives the columns.
std::vector<RankRow> rank_rows(const fs::path& path, const TimeParts& causes) {
  const std::vector<CsvRow> lines = csv_or_refuse(path);
  const auto column = [&](const std::string& name) {
    const auto found = std::find(lines[0].begin(), lines[0].end(), name);
    if (found == lines[0].end()) refuse_file(path, "no column '" + name + "'");
    return std::size_t(found - lines[0].begin());
  };
  const auto number = [&](std::size_t line, std::size_t at) {
    const auto value = number_in(lines[line][at]);
    if (!value)
      refuse_file(path, fmt::format("line {}: no number in column '{}'", line + 1, lines[0][at]));
    return *value;
  };
  const auto whole = [&](std::size_t line, std::size_t at) {
    constexpr double kMost = 2e9;
    const double value = number(line, at);
    if (value < 0 || value > kMost || value != std::floor(value))
      refuse_file(path, fmt::format("line {}: '{}' is no whole number", line + 1, lines[line][at]));
    return int(value);
  };
  const std::size_t represented = column("represented"), rank = column("rank");
  const std::size_t stage = column("stage");
  std::vector<RankRow> rows;
  for (std::size_t line = 1; line < lines.size(); ++line) {
    RankRow row{whole(line, rank), whole(line, stage), double(whole(line, represented)), {}};
    if (row.represented < 1)
      refuse_file(path, fmt::format("line {}: represents no rank", line + 1));
    for (const auto& [cause, ignored] : causes)
      row.parts.emplace_back(cause, number(line, column(cause + "_s")));
    rows.push_back(std::move(row));
  }
  return rows;
}

// Every row counts for the ranks that it stands for.
TimeParts mean_parts(const std::vector<RankRow>& rows, TimeParts parts) {
  double ranks = 0;
  for (const RankRow& row : rows) ranks += row.represented;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i].second = 0;
    for (const RankRow& row : rows)
      parts[i].second += row.parts[i].second * row.represented / ranks;
  }
  return parts;
}

}  // namespace

std::string job_name(const RunFiles& run) {
  const auto name = run.report.find("job");
  return name != run.report.end() && name->is_string() ? name->get<std::string>() : run.path;
}

void refuse_file(const fs::path& path, const std::string& why) {
  throw ConfigError(fmt::format("{}: error: {}", path.string(), why));
}

std::string content_or_refuse(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) refuse_file(path, "no such file");
  auto content = content_of(path);
  if (!content) refuse_file(path, "cannot be read");
  return std::move(*content);
}

std::vector<CsvRow> csv_or_refuse(const fs::path& path) {
  const std::string content = content_or_refuse(path);
  std::vector<CsvRow> lines;
  for (std::size_t start = 0; start < content.size();) {
    const std::size_t end = std::min(content.find('\n', start), content.size());
    lines.push_back(csv_fields(std::string_view(content).substr(start, end - start)));
    if (lines.back().size() != lines.front().size())
      refuse_file(path, fmt::format("line {}: {} columns, but the first line has {}", lines.size(),
                                    lines.back().size(), lines.front().size()));
    start = end + 1;
  }
  if (lines.empty()) refuse_file(path, "the file is empty");
  return lines;
}

RunFiles run_files(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) refuse_file(path, "no such folder or file");
  const bool is_folder = fs::is_directory(path, ignored);
  const fs::path report = is_folder ? path / "report.json" : path;
  const fs::path ranks = is_folder ? path / "ranks.csv" : path.parent_path() / "ranks.csv";
  RunFiles run{.path = path.string(), .report = parsed_report(report)};
  run.step_time = number_at(report, run.report, "step_time_s");
  if (!(run.step_time > 0)) refuse_file(report, "'step_time_s' is not positive");
  run.critical = critical_parts(report, run.report);
  check_sum(report, run.critical, run.step_time);
  if (is_folder || fs::exists(ranks, ignored)) {
    run.ranks = rank_rows(ranks, run.critical);
    run.mean = mean_parts(run.ranks, run.critical);
    check_sum(ranks, *run.mean, run.step_time);
  }
  return run;
}

}  // namespace windtunnel

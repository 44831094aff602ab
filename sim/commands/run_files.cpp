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

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw ConfigError(fmt::format("{}: error: {}", path.string(), why));
}

std::string read_or_refuse(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) refuse(path, "no such file");
  auto content = content_of(path);
  if (!content) refuse(path, "cannot be read");
  return std::move(*content);
}

Json parsed_report(const fs::path& path) {
  Json report = Json::parse(read_or_refuse(path), nullptr, false);
  const auto version = report.is_object() ? report.find("schema_version") : report.end();
  if (!report.is_object() || version == report.end() || !version->is_number_integer())
    refuse(path, "not a report.json of windtunnel simulate: no schema_version");
  if (*version != kReadSchemaVersion)
    refuse(path, fmt::format("schema_version {}, but this program reads {}: simulate again",
                             version->dump(), kReadSchemaVersion));
  return report;
}

double number_at(const fs::path& path, const Json& object, const std::string& key) {
  const auto value = object.find(key);
  if (value == object.end() || !value->is_number()) refuse(path, "no number '" + key + "'");
  return value->get<double>();
}

void check_sum(const fs::path& path, const TimeParts& parts, double step_time) {
  double sum = 0;
  for (const auto& [cause, seconds] : parts) sum += seconds;
  constexpr double kRounding = 1e-6;
  if (!(std::abs(sum - step_time) <= kRounding * step_time))
    refuse(path, fmt::format("the parts of the time sum to {} s, not to the step time of {} s", sum,
                             step_time));
}

TimeParts critical_parts(const fs::path& path, const Json& report) {
  const auto breakdown = report.find("breakdown_s");
  if (breakdown == report.end() || !breakdown->is_object()) refuse(path, "no 'breakdown_s'");
  TimeParts parts;
  for (const auto& [cause, seconds] : breakdown->items())
    parts.emplace_back(cause, number_at(path, *breakdown, cause));
  return parts;
}

// Every row counts for the ranks that it stands for.
TimeParts mean_parts(const fs::path& path, TimeParts parts) {
  const std::string content = read_or_refuse(path);
  std::vector<CsvRow> rows;
  for (std::size_t start = 0; start < content.size();) {
    const std::size_t end = std::min(content.find('\n', start), content.size());
    rows.push_back(csv_fields(std::string_view(content).substr(start, end - start)));
    start = end + 1;
  }
  const auto column = [&](const std::string& name) {
    const auto found =
        rows.empty() ? CsvRow::iterator() : std::find(rows[0].begin(), rows[0].end(), name);
    if (rows.empty() || found == rows[0].end()) refuse(path, "no column '" + name + "'");
    return std::size_t(found - rows[0].begin());
  };
  const auto number = [&](std::size_t row, std::size_t at) {
    const auto value = at < rows[row].size() ? number_in(rows[row][at]) : std::nullopt;
    if (!value) refuse(path, fmt::format("line {}: too few columns", row + 1));
    return *value;
  };
  const std::size_t represented = column("represented");
  double ranks = 0;
  for (std::size_t row = 1; row < rows.size(); ++row) ranks += number(row, represented);
  for (auto& [cause, seconds] : parts) {
    const std::size_t at = column(cause + "_s");
    seconds = 0;
    for (std::size_t row = 1; row < rows.size(); ++row)
      seconds += number(row, at) * number(row, represented) / ranks;
  }
  return parts;
}

}  // namespace

RunFiles run_files(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) refuse(path, "no such folder or file");
  const bool is_folder = fs::is_directory(path, ignored);
  const fs::path report = is_folder ? path / "report.json" : path;
  const fs::path ranks = is_folder ? path / "ranks.csv" : path.parent_path() / "ranks.csv";
  RunFiles run{.path = path.string(), .report = parsed_report(report)};
  run.step_time = number_at(report, run.report, "step_time_s");
  run.critical = critical_parts(report, run.report);
  check_sum(report, run.critical, run.step_time);
  if (is_folder || fs::exists(ranks, ignored)) {
    run.mean = mean_parts(ranks, run.critical);
    check_sum(ranks, *run.mean, run.step_time);
  }
  return run;
}

}  // namespace windtunnel

#include "commands/sweep_row.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "report/placement.hpp"
#include "report/report.hpp"

namespace windtunnel {
namespace {

using Fields = std::map<std::string, std::string, std::less<>>;

struct Column {
  std::string_view name;
  std::string_view place{};  // in report.json; columns without one are filled in otherwise
};
constexpr std::array<Column, 16> kColumns = {{
    {"status"},
    {"reason"},
    {"gpus"},
    {"global_batch_samples"},
    {"step_time_s", "/step_time_s"},
    {"samples_per_s", "/samples_per_s"},
    {"tokens_per_s", "/tokens_per_s"},
    {"samples_per_s_per_gpu"},
    {"tokens_per_s_per_gpu", "/tokens_per_s_per_gpu"},
    {"mfu", "/mfu"},
    {"bubble_fraction", "/bubble_fraction"},
    {"exposed_comm_s", "/exposed_comm_s/total"},
    {"memory_peak_bytes"},
    {"memory_capacity_bytes"},
    {"usd_per_step", "/usd_per_step"},
    {"usd_per_million_tokens", "/usd_per_million_tokens"},
}};

// The shortest digits that read back as the same double.
std::string text_of(double value) {
  return fmt::format("{}", value);
}

// On one line, at most a few hundred bytes.
std::string one_line(std::string_view text) {
  constexpr std::size_t kMost = 300;
  std::string line;
  for (const char c : text.substr(0, kMost)) {
    const bool is_space = c == ' ' || static_cast<unsigned char>(c) < 32;
    if (!is_space) line += c;
    if (is_space && !line.empty() && line.back() != ' ') line += ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::string first_lines(std::string_view text, int count) {
  std::size_t end = 0;
  for (int i = 0; i < count && end < text.size(); ++i)
    end = std::min(text.find('\n', end), text.size() - 1) + 1;
  return one_line(text.substr(0, end));
}

// Of the stage that is fullest.
void add_memory(Fields& fields, const Job& job, const Plan& plan) {
  const std::vector<Bytes> capacity = capacity_by_pipeline(job, plan.grid);
  double fullest = -1;
  for (const Program& program : plan.programs) {
    const Bytes peak = total(peak_memory(program).at_peak);
    const Bytes most = capacity[std::size_t(program.pipeline)];
    if (peak / most <= fullest) continue;
    fullest = peak / most;
    fields["memory_peak_bytes"] = fmt::format("{:.0f}", peak.value);
    fields["memory_capacity_bytes"] = fmt::format("{:.0f}", most.value);
  }
}

void add_results(Fields& fields, const Job& job, const Plan& plan) {
  const Cluster cluster = build_cluster(job.cluster, job.gpus);
  const Trace trace = simulate(plan, cluster, conditions_of(job));
  const Report report = summarize(job, plan, trace);
  const auto json = nlohmann::json::parse(to_json(report, job));
  for (const Column& column : kColumns) {
    if (column.place.empty()) continue;
    const auto& value = json.at(nlohmann::json::json_pointer(std::string(column.place)));
    if (value.is_number()) fields[std::string(column.name)] = text_of(value.get<double>());
  }
  fields["samples_per_s_per_gpu"] = text_of(report.samples_per_s / report.gpus);
}

CsvRow row_of(const Fields& fields, const std::vector<std::string>& columns) {
  CsvRow row;
  for (const std::string& column : columns) {
    const auto field = fields.find(column);
    row.push_back(field == fields.end() ? "" : field->second);
  }
  return row;
}

}  // namespace

std::vector<std::string> sweep_columns(const std::vector<std::string>& keys) {
  std::vector<std::string> columns;
  for (const Column& column : kColumns)
    if (column.name != "gpus" || std::find(keys.begin(), keys.end(), column.name) == keys.end())
      columns.emplace_back(column.name);
  return columns;
}

std::size_t column_of(const std::vector<std::string>& columns, std::string_view name) {
  const auto found = std::find(columns.rbegin(), columns.rend(), name);
  SIM_CHECK(found != columns.rend(), "no column " + std::string(name));
  return std::size_t(columns.rend() - found) - 1;
}

std::optional<double> number_in(const std::string& field) {
  char* end = nullptr;
  const double number = std::strtod(field.c_str(), &end);
  const bool is_number = !field.empty() && *end == '\0' && std::isfinite(number);
  return is_number ? std::optional(number) : std::nullopt;
}

CsvRow failed_row(std::string_view status, std::string_view reason,
                  const std::vector<std::string>& columns) {
  return row_of({{"status", std::string(status)}, {"reason", one_line(reason)}}, columns);
}

CsvRow simulated_row(const SweepJob& sweep_job, const std::vector<std::string>& columns) {
  try {
    const Job job = load_job(sweep_job.path, sweep_job.overrides);
    const Plan plan = build_plan(job);
    Fields fields = {{"status", std::string(kOk)},
                     {"gpus", std::to_string(job.gpus)},
                     {"global_batch_samples", std::to_string(job.batch.global)}};
    add_memory(fields, job, plan);
    const std::string complaint = memory_complaint(job, plan);
    if (complaint.empty() || sweep_job.allow_oom) {
      add_results(fields, job, plan);
    } else {
      fields["status"] = kOutOfMemory;
      fields["reason"] = first_lines(complaint, 2);
    }
    return row_of(fields, columns);
  } catch (const ConfigError& error) {
    return failed_row(kInvalid, first_lines(error.what(), 1), columns);
  }
}

}  // namespace windtunnel

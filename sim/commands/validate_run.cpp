#include "commands/validate_run.hpp"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <map>

#include "commands/csv.hpp"
#include "commands/workers.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "report/placement.hpp"
#include "report/report.hpp"

namespace windtunnel {
namespace {

struct Task {
  const MappedRow* mapped = nullptr;
  bool needs_time = false;
};

// "a.yaml:3:7: error: parallel: why" -> "parallel: why", the first line of it.
std::string message_of(const ConfigError& error) {
  std::string text = error.what();
  text = text.substr(0, text.find('\n'));
  const std::string mark = "error: ";
  const std::size_t at = text.find(mark);
  return at == std::string::npos ? text : text.substr(at + mark.size());
}

void measure_memory(const Job& job, const Plan& plan, JobOutcome& outcome) {
  const std::vector<Bytes> capacity = capacity_by_pipeline(job, plan.grid);
  double fullest = -1;
  for (const Program& program : plan.programs) {
    const MemoryByKind memory = peak_memory(program).at_peak;
    const double peak = total(memory).value;
    const double most = capacity[std::size_t(program.pipeline)].value;
    if (peak / most <= fullest) continue;
    fullest = peak / most;
    outcome.memory = peak;
    outcome.capacity = most;
    outcome.reserved = peak - memory[std::size_t(MemoryKind::Framework)].value;
    outcome.allocated = outcome.reserved - memory[std::size_t(MemoryKind::Fragmentation)].value;
  }
}

JobOutcome outcome_of(const Job& job, bool needs_time) {
  JobOutcome outcome;
  const Plan plan = build_plan(job);
  measure_memory(job, plan, outcome);
  outcome.least_seconds = least_seconds(job);
  outcome.whole_over_causal_flops = whole_over_causal_flops(job);
  outcome.terms = null_terms(job);
  if (needs_time)
    outcome.seconds =
        simulate(plan, build_cluster(job.cluster, job.gpus), conditions_of(job)).end.value;
  return outcome;
}

// A micro-batch that the layout allows, or nothing.
std::optional<Job> job_with(const Task& task, const std::string& recompute, long long micro_batch,
                            const Rules& rules) {
  try {
    return job_of(*task.mapped, recompute, micro_batch, rules);
  } catch (const ConfigError&) {
    if (micro_batch <= 1) throw;
    return std::nullopt;
  }
}

// Of the micro-batches that fit with this recompute the fastest; else the first.
JobOutcome fastest(const Task& task, const std::string& recompute, const Rules& rules) {
  std::vector<long long> micro_batches = task.mapped->micro_batches;
  if (micro_batches.empty()) micro_batches = {0};
  if (!task.needs_time) micro_batches.resize(1);
  std::optional<JobOutcome> best;
  for (const long long micro_batch : micro_batches) {
    const std::optional<Job> job = job_with(task, recompute, micro_batch, rules);
    if (!job) continue;
    JobOutcome outcome = outcome_of(*job, task.needs_time);
    outcome.recompute = recompute;
    outcome.micro_batch = micro_batch;
    if (!best || (outcome.fits() && outcome.seconds < best->seconds)) best = outcome;
    if (!outcome.fits()) break;
  }
  return *best;
}

JobOutcome outcome_of(const Task& task, const Rules& rules) {
  JobOutcome outcome;
  std::vector<std::string> choices = task.mapped->recompute;
  if (choices.empty()) choices = {""};
  try {
    for (const std::string& recompute : choices) {
      outcome = fastest(task, recompute, rules);
      if (outcome.fits()) break;
    }
  } catch (const ConfigError& error) {
    outcome.refusal = {"the loader refuses the job", message_of(error)};
  }
  return outcome;
}

// Shortest digits that read back as the same number.
std::string text_of(const JobOutcome& outcome) {
  CsvRow fields = {outcome.refusal ? outcome.refusal->reason : "",
                   outcome.refusal ? outcome.refusal->detail : "",
                   outcome.recompute,
                   fmt::format("{}", outcome.micro_batch),
                   fmt::format("{}", outcome.seconds),
                   fmt::format("{}", outcome.memory),
                   fmt::format("{}", outcome.capacity),
                   fmt::format("{}", outcome.reserved),
                   fmt::format("{}", outcome.allocated),
                   fmt::format("{}", outcome.least_seconds),
                   fmt::format("{}", outcome.whole_over_causal_flops)};
  for (const double term : outcome.terms) fields.push_back(fmt::format("{}", term));
  return csv_line(fields);
}

double number_of(const std::string& text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

JobOutcome outcome_from(const std::string& text) {
  const CsvRow fields = csv_fields(text);
  JobOutcome outcome;
  if (!fields[0].empty()) outcome.refusal = {fields[0], fields[1]};
  outcome.recompute = fields[2];
  outcome.micro_batch = static_cast<long long>(number_of(fields[3]));
  outcome.seconds = number_of(fields[4]);
  outcome.memory = number_of(fields[5]);
  outcome.capacity = number_of(fields[6]);
  outcome.reserved = number_of(fields[7]);
  outcome.allocated = number_of(fields[8]);
  outcome.least_seconds = number_of(fields[9]);
  outcome.whole_over_causal_flops = number_of(fields[10]);
  for (std::size_t i = 0; i < kNullTerms; ++i) outcome.terms[i] = number_of(fields[11 + i]);
  return outcome;
}

// By task; equal jobs are one task.
std::vector<JobOutcome> run(const std::vector<Task>& tasks, const Rules& rules, int workers) {
  std::vector<JobOutcome> outcomes(tasks.size());
  Workers pool(workers,
               [&](std::size_t index) { return text_of(outcome_of(tasks[index], rules)); });
  for (std::size_t next = 0; next < tasks.size() || pool.is_busy();) {
    while (next < tasks.size() && pool.has_room()) {
      if (const std::string problem = pool.start(next); !problem.empty()) {
        outcomes[next].refusal = {"the simulation failed", problem};
      }
      ++next;
    }
    for (const Workers::Ended& ended : pool.wait(-1)) {
      if (ended.completed)
        outcomes[ended.index] = outcome_from(ended.text);
      else
        outcomes[ended.index].refusal = {"the simulation failed",
                                         ended.text.substr(0, ended.text.find('\n'))};
    }
  }
  return outcomes;
}

ValidatedRow prepared(PublishedRow row, const Rules& rules) {
  ValidatedRow result;
  result.table = std::filesystem::path(row.file).stem().string();
  result.mapped = mapped_row(row, rules);
  result.outcome.refusal = result.mapped.refusal;
  result.is_oom = row.text("status") == "OOM";
  if (!result.is_oom) result.published = published_time(row);
  if (const Rule* notes = rules.find("notes", row.text("notes")))
    result.counts_whole_attention = (*notes)["attention_flops"] == "whole";
  if (const Rule* tool =
          rules.find("memory_tools", row.text("mem_kind") + " by " + row.text("framework"))) {
    result.published_memory = published_memory(row, (*tool)["unit"]);
    result.memory_counts = (*tool)["counts"];
  }
  result.row = std::move(row);
  return result;
}

bool is_in(const PublishedRow& row, Split split) {
  const bool calibrates = row.text("split") == "calibrate";
  return split == Split::All || calibrates == (split == Split::Calibrate);
}

void add_outcome(ValidatedRow& row, const JobOutcome& outcome) {
  row.outcome = outcome;
  if (row.published && row.counts_whole_attention)
    row.published->seconds *= outcome.whole_over_causal_flops;
  if (row.is_simulated() && row.mapped.recompute.size() > 1)
    row.mapped.assumed.push_back("recompute " + outcome.recompute);
  if (row.is_simulated() && outcome.micro_batch > 0)
    row.mapped.assumed.push_back(fmt::format("mbs {}", outcome.micro_batch));
  if (row.is_timed() && row.published->seconds < outcome.least_seconds)
    row.outcome.refusal = {
        "faster than its GPUs at their peak",
        fmt::format("{:.4g} s, at peak {:.4g} s", row.published->seconds, outcome.least_seconds)};
}

void add_null_models(std::vector<ValidatedRow>& rows) {
  std::map<std::string, std::vector<NullSample>> samples;
  for (const ValidatedRow& row : rows)
    if (row.is_timed() && row.row.text("split") == "calibrate")
      samples[row.row.file].push_back({row.outcome.terms, row.published->seconds});
  std::map<std::string, NullModels> models;
  for (const auto& [file, list] : samples) models[file] = *fitted_null_models(list);
  for (ValidatedRow& row : rows) {
    const auto fitted = models.find(row.row.file);
    if (!row.is_timed() || fitted == models.end()) continue;
    row.null_flops = fitted->second.flops_seconds(row.outcome.terms);
    row.null_regression = fitted->second.regression_seconds(row.outcome.terms);
  }
}

}  // namespace

std::optional<Pair> ValidatedRow::memory_pair() const {
  if (!is_simulated() || is_oom || !published_memory) return std::nullopt;
  const double predicted = memory_counts == "allocated"  ? outcome.allocated
                           : memory_counts == "reserved" ? outcome.reserved
                                                         : outcome.memory;
  return Pair{predicted, *published_memory};
}

std::string ValidatedRow::group() const {
  std::string key = table;
  for (const char* column : {"model", "layers", "hidden", "seq_len", "vocab", "gpu_type", "gpus",
                             "gbs", "precision", "framework", "date"})
    key += "|" + row.text(column);
  return key;
}

std::string ValidatedRow::group_of_schedules() const {
  std::string key = group();
  for (const char* column : {"tp", "pp", "dp", "mbs", "recompute", "flash_attn", "notes"})
    key += "|" + row.text(column);
  return key;
}

Validation validated(const std::vector<std::string>& files, const Rules& rules, Split split,
                     int workers) {
  Validation validation;
  std::vector<ValidatedRow> rows;
  for (const std::string& file : files) {
    validation.tables.push_back(std::filesystem::path(file).stem().string());
    for (PublishedRow& row : read_published(file)) rows.push_back(prepared(std::move(row), rules));
  }
  // Calibrate rows are always planned, for the null models, but timed only if they are asked for.
  std::map<std::string, std::size_t> index_of;
  std::vector<Task> tasks;
  std::vector<std::size_t> task_of(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].mapped.refusal) continue;
    const auto [found, is_new] = index_of.emplace(rows[i].mapped.key(), tasks.size());
    if (is_new) tasks.push_back({&rows[i].mapped, false});
    task_of[i] = found->second;
    if (rows[i].published && is_in(rows[i].row, split)) tasks[found->second].needs_time = true;
  }
  const std::vector<JobOutcome> outcomes = run(tasks, rules, workers);
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (!rows[i].mapped.refusal) add_outcome(rows[i], outcomes[task_of[i]]);
  add_null_models(rows);
  for (ValidatedRow& row : rows)
    if (is_in(row.row, split)) validation.rows.push_back(std::move(row));
  return validation;
}

}  // namespace windtunnel

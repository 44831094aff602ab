#include "commands/trial.hpp"

#include <fmt/format.h>
#include <time.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "commands/backend_program.hpp"
#include "commands/compare.hpp"
#include "commands/files.hpp"
#include "commands/trial_tables.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "report/format.hpp"
#include "report/measured_run.hpp"
#include "report/report.hpp"

namespace windtunnel {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Trial {
  std::string file;
  fs::path folder;
  Job job;
  Plan plan;
};

std::string utc_now() {
  const time_t now = time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  return {text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::vector<Trial> loaded(const TrialOptions& options) {
  std::vector<Trial> trials;
  for (const std::string& file : options.jobs) {
    Job job = load_job(file, options.overrides);
    Plan plan = build_plan(job);
    fs::path folder = options.out / job.name;
    for (const Trial& other : trials)
      if (other.folder == folder)
        throw ConfigError(fmt::format("{}: error: two jobs are named '{}'", file, job.name));
    trials.push_back({file, std::move(folder), std::move(job), std::move(plan)});
  }
  return trials;
}

// Every rank, every layer operation: each op has a measured counterpart.
Trace prediction(const Trial& trial) {
  Conditions conditions = conditions_of(trial.job);
  conditions.fidelity = std::max(conditions.fidelity, Fidelity::Full);
  return simulate(trial.plan, build_cluster(trial.job.cluster, trial.job.gpus), conditions);
}

std::string write_prediction(const Trial& trial, const Trace& trace, const Report& report) {
  const fs::path folder = trial.folder / "predicted";
  std::string problem = write_outputs(folder, trial.job, trial.plan, trace, report);
  if (!problem.empty()) return problem;
  const Json json = {{"job", trial.file},
                     {"date", utc_now()},
                     {"step_time_s", report.step_time.value},
                     {"bubble_fraction", report.bubble_fraction}};
  return replace_file(folder / "prediction.json", json.dump(2) + "\n");
}

std::string run_measured(const Trial& trial, const TrialOptions& options) {
  std::vector<std::string> arguments = {"run", trial.file, "--out",
                                        (trial.folder / "measured").string()};
  for (const std::string& override : options.overrides)
    arguments.insert(arguments.end(), {"--set", override});
  if (options.lab) arguments.emplace_back("--lab");
  const int code = run_backend(arguments);
  return code == 0 ? "" : fmt::format("{}: the run ended with exit code {}", trial.file, code);
}

// The measured ranks below the predicted ones, in one trace.
std::string both_timelines(const Trial& trial) {
  constexpr int kSecondRun = 1 << 20;  // above every process of the first
  const auto events = [&](const char* side) {
    const auto text = content_of(trial.folder / side / "trace.json");
    Json json = Json::parse(text.value_or("{}"));
    return json;
  };
  Json both = events("predicted");
  for (Json& event : both["traceEvents"])
    if (event.value("name", "") == "process_name")
      event["args"]["name"] = "predicted " + event["args"]["name"].get<std::string>();
  for (Json event : events("measured")["traceEvents"]) {
    if (event.contains("pid")) event["pid"] = event["pid"].get<int>() + kSecondRun;
    if (event.contains("id") && event["id"].is_number())
      event["id"] = event["id"].get<std::int64_t>() + (std::int64_t{1} << 40);
    if (event.value("name", "") == "process_name")
      event["args"]["name"] = "measured " + event["args"]["name"].get<std::string>();
    both["traceEvents"].push_back(std::move(event));
  }
  return both.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

struct Verdict {
  std::string text;
  bool passed = true;
};

Verdict verdict_of(const Trial& trial, double error, const MeasuredRun& measured) {
  if (!measured.noise.empty())
    return {fmt::format("no verdict: the machine was not quiet in {} attempts; {}",
                        measured.attempts, measured.noise),
            false};
  if (!trial.job.tolerance)
    return {fmt::format("step time {:+.1f} %; the job names no tolerance", 100 * error), true};
  const bool passed = std::abs(error) <= *trial.job.tolerance;
  return {fmt::format("{}: step time {:+.1f} %, tolerance {:.3g} %", passed ? "passed" : "FAILED",
                      100 * error, 100 * *trial.job.tolerance),
          passed};
}

std::string memory_text(const Plan& plan, const MeasuredRun& measured) {
  std::string text;
  for (std::size_t rank = 0; rank < measured.peak_memory.size(); ++rank) {
    const int pipeline = plan.grid.coordinates(int(rank)).pipeline;
    const Bytes planned = total(peak_memory(plan.programs[std::size_t(pipeline)]).at_peak);
    const std::string counts = measured.peak_reserved.empty()
                                   ? "whole process"
                                   : fmt::format("allocated; {} reserved",
                                                 readable(measured.peak_reserved[rank].value, "B"));
    text += fmt::format("  rank {:<4} predicted {:>10}  measured {:>10} ({})\n", rank,
                        readable(planned.value, "B"),
                        readable(measured.peak_memory[rank].value, "B"), counts);
  }
  return text;
}

std::string finish(const Trial& trial, const Trace& predicted, const Report& report,
                   TrialOutcome& outcome) {
  const auto text = content_of(trial.folder / "measured" / "measured.json");
  if (!text) return fmt::format("{}: the run wrote no measured.json", trial.file);
  MeasuredRun measured;
  try {
    measured = measured_run(*text, trial.plan);
  } catch (const std::runtime_error& error) {
    return fmt::format("{}: measured.json: {}", trial.file, error.what());
  }
  const Report real = summarize(trial.job, trial.plan, measured.trace);
  const double error = report.step_time.value / measured.median - 1;
  const Verdict verdict = verdict_of(trial, error, measured);
  outcome.passed = outcome.passed && verdict.passed;

  const std::vector<OpComparison> rows = op_comparisons(trial.plan, predicted, measured.trace);
  const Comparison comparison = compare(trial.folder / "predicted", trial.folder / "measured");
  outcome.text += fmt::format(
      "{}: predicted {}, measured {} (median of {}, p10 {}, p90 {})\n"
      "bubble: predicted {}, measured {}\n\n{}\n{}\n",
      trial.file, readable_time(report.step_time), readable_time(Seconds(measured.median)),
      measured.step_times.size(), readable_time(Seconds(measured.p10)),
      readable_time(Seconds(measured.p90)), readable_share(report.bubble_fraction),
      readable_share(real.bubble_fraction), to_text(rows), comparison.text);
  if (trial.job.compute == ComputeMode::Real)
    outcome.text += "\npeak memory\n" + memory_text(trial.plan, measured);
  if (const std::string coverage = profile_coverage(trial.job, trial.plan); !coverage.empty())
    outcome.text += "\n" + coverage + "\n";
  outcome.text += verdict.text + "\n\n";

  Json json = {
      {"schema_version", 1},
      {"job", trial.file},
      {"predicted_step_s", report.step_time.value},
      {"measured_step_s", measured.median},
      {"error", error},
      {"predicted_bubble", report.bubble_fraction},
      {"measured_bubble", real.bubble_fraction},
      {"spread", measured.median > 0 ? (measured.p90 - measured.p10) / measured.median : 0},
      {"noise", measured.noise},
      {"verdict", verdict.text},
      {"ops", Json::array()}};
  for (const OpComparison& row : rows)
    json["ops"].push_back({{"op", row.what},
                           {"count", row.count},
                           {"predicted_s", row.predicted},
                           {"measured_s", row.measured}});
  std::string problem = replace_file(trial.folder / "trial.json", json.dump(2) + "\n");
  if (problem.empty()) problem = replace_file(trial.folder / "both.json", both_timelines(trial));
  return problem;
}

}  // namespace

TrialOutcome try_jobs(const TrialOptions& options) {
  const std::vector<Trial> trials = loaded(options);
  TrialOutcome outcome;
  outcome.problem = backend_complaint();
  for (const Trial& trial : trials) {
    if (!outcome.problem.empty()) return outcome;
    const Trace predicted = prediction(trial);
    Report report = summarize(trial.job, trial.plan, predicted);
    report.standing = standing(trial.job, trial.plan, report.step_time);
    outcome.problem = write_prediction(trial, predicted, report);
    if (outcome.problem.empty()) outcome.problem = run_measured(trial, options);
    if (outcome.problem.empty()) outcome.problem = finish(trial, predicted, report, outcome);
  }
  return outcome;
}

}  // namespace windtunnel

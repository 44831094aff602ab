// The command line: one verb a task. The only place that prints errors and picks exit codes:
// 0 done, 1 the machine failed us (a full disk), 2 wrong input.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "commands/compare.hpp"
#include "commands/files.hpp"
#include "commands/sweep.hpp"
#include "commands/validate.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "report/report.hpp"

namespace {

using namespace windtunnel;

constexpr int kDone = 0, kFailed = 1, kWrongInput = 2;

int fail(const std::string& why) {
  fmt::print(stderr, "error: {}\n", why);
  return kFailed;
}

// Standard output may be a full disk or a closed pipe too.
int printed(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  return written && std::fflush(stdout) == 0 ? kDone : fail("cannot write to standard output");
}

// A line that is rewritten while a long simulation runs; nothing where nobody looks.
std::function<void(const Progress&)> progress_line() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](const Progress& progress) {
    fmt::print(stderr, "\r{:>12} events, {:.3f} s simulated", progress.events,
               progress.simulated.value);
    std::fflush(stderr);
  };
}

struct Options {
  std::vector<std::string> files, overrides, vary;
  std::string job, out, first, second, json;
  int workers = 0;
  bool allow_oom = false;
};

int check(const Options& options) {
  int result = kDone;
  std::string report;
  for (const std::string& file : options.files) {
    try {
      report += fmt::format("{}: {}, valid\n", file, name_of(kFileKindNames, check_file(file)));
    } catch (const ConfigError& error) {
      fmt::print(stderr, "{}\n", error.what());
      result = kWrongInput;
    }
  }
  const int written = printed(report);
  return result == kDone ? written : result;
}

int plan(const Options& options) {
  return printed(to_text(build_plan(load_job(options.job, options.overrides))));
}

int simulate_job(const Options& options) {
  const Job job = load_job(options.job, options.overrides);
  const Plan plan = build_plan(job);
  const std::string complaint = memory_complaint(job, plan);
  if (!complaint.empty() && !options.allow_oom) {
    fmt::print(stderr, "{}: error: {}\n--allow-oom simulates it all the same\n", options.job,
               complaint);
    return kWrongInput;
  }
  const Cluster cluster = build_cluster(job.cluster, job.gpus);
  Conditions conditions = conditions_of(job);
  conditions.on_progress = progress_line();
  const Trace trace = simulate(plan, cluster, conditions);
  if (conditions.on_progress) fmt::print(stderr, "\r{:60}\r", "");
  const Report report = summarize(job, plan, trace);
  std::string text = to_text(report, job);
  if (!options.out.empty()) {
    const std::string problem = write_outputs(options.out, job, plan, trace, report);
    if (!problem.empty()) return fail(problem);
    text += fmt::format("\nwrote {0}/report.html, {0}/report.json, {0}/ranks.csv, {0}/trace.json\n",
                        options.out);
  }
  return printed(text);
}

int sweep_job(const Options& options) {
  const SweepOutcome outcome = sweep({.job = options.job,
                                      .overrides = options.overrides,
                                      .vary = options.vary,
                                      .out = options.out,
                                      .workers = options.workers,
                                      .allow_oom = options.allow_oom});
  if (!outcome.problem.empty()) return fail(outcome.problem);
  if (outcome.cases == 0) return kDone;  // a rank whose rows another one writes
  const int written =
      printed(outcome.text + fmt::format("\nwrote {0}/sweep.csv, {0}/sweep.html\n", options.out));
  if (outcome.all_invalid) fmt::print(stderr, "error: not one case is a valid job\n");
  return outcome.all_invalid ? kWrongInput : written;
}

int compare_runs(const Options& options) {
  const Comparison comparison = compare(options.first, options.second);
  std::string text = comparison.text;
  if (!options.json.empty()) {
    const std::string problem = replace_file(options.json, comparison.json);
    if (!problem.empty()) return fail(problem);
    text += fmt::format("\nwrote {}\n", options.json);
  }
  return printed(text);
}

int validate_tables(const ValidateOptions& options) {
  const ValidateOutcome outcome = validate(options);
  const int written = printed(outcome.text);
  return outcome.problem.empty() ? written : fail(outcome.problem);
}

void add_validate_options(CLI::App* verb, ValidateOptions& options) {
  verb->add_option("FILE", options.files, "tables of published measurements, CSV")->required();
  verb->add_option("--out", options.out, "folder for rows.csv, summaries and pictures");
  verb->add_option("--split", options.split, "rows to report: test (default), calibrate or all");
  verb->add_option("--rules", options.rules, "how rows become jobs; default: systems.yaml nearby");
  verb->add_option("--jobs", options.workers, "processes at once; default: one for each core")
      ->check(CLI::Range(1, 4096));
  verb->add_option("--write-readme", options.readme, "file whose accuracy table is replaced");
  verb->add_flag("--zero-shot", options.zero_shot,
                 "without the numbers that calibrate.py fitted to calibrate rows");
}

void add_options(CLI::App* sweep_verb, CLI::App* compare_verb, Options& options) {
  sweep_verb
      ->add_option("--vary", options.vary,
                   "path=a,b,c varies a key; path,path=a:b,c:d varies keys together; "
                   "1..8, 8..64+8 and 64..1024*2 are ranges")
      ->allow_extra_args(false)
      ->take_all()
      ->required();
  sweep_verb->add_option("--out", options.out, "folder for sweep.csv and sweep.html")->required();
  sweep_verb->add_option("--jobs", options.workers, "processes at once; default: one for each core")
      ->check(CLI::Range(1, 4096));
  compare_verb->add_option("A", options.first, "folder of simulate --out, or a report.json")
      ->required();
  compare_verb->add_option("B", options.second, "the other one")->required();
  compare_verb->add_option("--json", options.json, "also write the comparison to this file");
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Windtunnel predicts distributed deep-learning training before anyone pays for it.",
               "windtunnel");
  app.require_subcommand(1);

  CLI::App* check_verb = app.add_subcommand("check", "Validate YAML files, nothing else");
  check_verb->add_option("FILE", options.files, "GPU, node, cluster, price, model or job files")
      ->required();

  CLI::App* plan_verb = app.add_subcommand("plan", "Print what every rank does, as text");
  CLI::App* simulate_verb = app.add_subcommand("simulate", "Predict one training step");
  CLI::App* sweep_verb = app.add_subcommand("sweep", "Simulate every combination of values");
  CLI::App* compare_verb = app.add_subcommand("compare", "Explain why two runs differ");
  for (CLI::App* verb : {plan_verb, simulate_verb, sweep_verb}) {
    verb->add_option("JOB", options.job, "job file")->required();
    verb->add_option("--set", options.overrides, "path=value overrides a key of the job")
        ->allow_extra_args(false)
        ->take_all();
  }
  simulate_verb->add_option("--out", options.out,
                            "folder for report.html, report.json, ranks.csv, trace.json");
  for (CLI::App* verb : {simulate_verb, sweep_verb})
    verb->add_flag("--allow-oom", options.allow_oom, "simulate a job that does not fit");
  add_options(sweep_verb, compare_verb, options);
  ValidateOptions validate_options;
  CLI::App* validate_verb =
      app.add_subcommand("validate", "Predict published measurements and report the errors");
  add_validate_options(validate_verb, validate_options);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongInput;
  }
  try {
    if (check_verb->parsed()) return check(options);
    if (plan_verb->parsed()) return plan(options);
    if (sweep_verb->parsed()) return sweep_job(options);
    if (compare_verb->parsed()) return compare_runs(options);
    if (validate_verb->parsed()) return validate_tables(validate_options);
    return simulate_job(options);
  } catch (const ConfigError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return kWrongInput;
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv);
}

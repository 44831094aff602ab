// The command line: one verb a task. The only place that prints errors and picks exit codes:
// 0 done, 1 the machine failed us (a full disk), 2 wrong input.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "backend/lab/lab_plan.hpp"
#include "backend/lab/lab_text.hpp"
#include "commands/backend_program.hpp"
#include "commands/compare.hpp"
#include "commands/files.hpp"
#include "commands/plot.hpp"
#include "commands/sweep.hpp"
#include "commands/trial.hpp"
#include "commands/validate.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "interchange/chakra.hpp"
#include "report/report.hpp"
#include "schedules/csv.hpp"

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
  std::string job, profile, out, first, second, json, topology, chakra, schedule_csv;
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

int export_job(const Options& options) {
  if (options.chakra.empty() && options.schedule_csv.empty()) {
    fmt::print(stderr, "error: say what to write: --chakra or --schedule-csv\n");
    return kWrongInput;
  }
  const Job job = load_job(options.job, options.overrides);
  const Plan plan = build_plan(job);
  if (!options.chakra.empty() && job.parallel.expert_dispatch != TokenDispatch::Direct) {
    fmt::print(stderr, "{}: error: expert_dispatch: a graph of ops has all-to-alls only\n",
               options.job);
    return kWrongInput;
  }
  if (!options.chakra.empty() && plan.overlaps_experts) {
    fmt::print(stderr,
               "{}: error: overlap_experts: a graph of ops has no place for exchanges "
               "beside another micro-batch\n",
               options.job);
    return kWrongInput;
  }
  std::string text, problem;
  if (!options.schedule_csv.empty()) {
    if (job.recorded) {
      fmt::print(stderr, "{}: error: a recorded step has no schedule\n", options.job);
      return kWrongInput;
    }
    const std::filesystem::path file = options.schedule_csv;
    std::error_code ignored;  // what stands in the way, writing the file says
    if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), ignored);
    problem = replace_file(file, to_csv(plan.schedule));
    text += fmt::format("wrote {}\n", options.schedule_csv);
  }
  if (problem.empty() && !options.chakra.empty()) {
    const std::string prefix = (std::filesystem::path(options.chakra) / job.name).string();
    problem = write_chakra(plan, build_cluster(job.cluster, job.gpus), prefix);
    text += fmt::format("wrote {} to {}, {}\n", chakra_file(prefix, 0),
                        chakra_file(prefix, job.gpus - 1), chakra_groups_file(prefix));
  }
  return problem.empty() ? printed(text) : fail(problem);
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
  Report report = summarize(job, plan, trace);
  report.standing = standing(job, plan, report.step_time);
  std::string text = to_text(report, job);
  if (const std::string coverage = profile_coverage(job, plan); !coverage.empty())
    text += "\n" + coverage;
  if (!options.out.empty()) {
    const std::string problem = write_outputs(options.out, job, plan, trace, report);
    if (!problem.empty()) return fail(problem);
    text += fmt::format("\nwrote {0}/report.html, {0}/report.json, {0}/ranks.csv, {0}/{1}\n",
                        options.out, trace_file_name(trace));
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
  std::vector<std::pair<std::filesystem::path, std::string>> files;
  if (!options.json.empty()) files.emplace_back(options.json, comparison.json);
  if (!options.out.empty()) {
    const std::filesystem::path folder = options.out;
    files.emplace_back(folder / "compare.html",
                       compare_page(comparison, options.first, options.second));
    files.emplace_back(folder / "compare.json", comparison.json);
    std::error_code ignored;  // whoever writes into the folder says what is wrong with it
    std::filesystem::create_directories(folder, ignored);
  }
  std::string text = comparison.text, names;
  for (const auto& [path, content] : files) {
    const std::string problem = replace_file(path, content);
    if (!problem.empty()) return fail(problem);
    names += (names.empty() ? "" : ", ") + path.string();
  }
  if (!names.empty()) text += fmt::format("\nwrote {}\n", names);
  return printed(text);
}

int plot_folder(const PlotOptions& options) {
  const PlotOutcome outcome = plot(options);
  return outcome.problem.empty() ? printed(fmt::format("wrote {}\n", outcome.file.string()))
                                 : fail(outcome.problem);
}

int validate_tables(const ValidateOptions& options) {
  const ValidateOutcome outcome = validate(options);
  const int written = printed(outcome.text);
  return outcome.problem.empty() ? written : fail(outcome.problem);
}

bool is_job_file(const std::string& file) {
  return file.ends_with(".yaml") || file.ends_with(".yml");
}

// Options of validate that only tables, or only jobs, can take; --help groups them so.
const std::string kTableOptions = "Tables only", kJobOptions = "Jobs only";

void refuse_options_of(const std::string& group, const CLI::App& verb, const char* why) {
  for (const CLI::Option* option : verb.get_options())
    if (option->count() > 0 && option->get_group() == group)
      throw ConfigError(fmt::format("{}: error: {}", option->get_name(), why));
}

// Tables of published measurements, or jobs that are run here.
int validate_files(const CLI::App& verb, const ValidateOptions& tables, TrialOptions trial) {
  const auto jobs = std::count_if(tables.files.begin(), tables.files.end(), is_job_file);
  if (jobs == 0) {
    refuse_options_of(kJobOptions, verb, "is for jobs (YAML), not for tables (CSV)");
    return validate_tables(tables);
  }
  if (jobs != std::ssize(tables.files))
    throw ConfigError("error: validate takes tables (CSV) or jobs (YAML), not both at once");
  refuse_options_of(kTableOptions, verb, "is for tables (CSV), not for jobs (YAML)");
  trial.jobs = tables.files;
  trial.out = tables.out.empty() ? std::filesystem::path("out/trials") : tables.out;
  const TrialOutcome outcome = try_jobs(trial);
  const int written = printed(outcome.text);
  if (!outcome.problem.empty()) return fail(outcome.problem);
  return outcome.passed ? written : kFailed;
}

// A verb of the backend's program, with all that follows it.
int pass_to_backend(const CLI::App& verb) {
  if (const std::string complaint = backend_complaint(); !complaint.empty()) return fail(complaint);
  std::vector<std::string> arguments = verb.remaining();
  arguments.insert(arguments.begin(), verb.get_name());
  return run_backend(arguments);
}

int lab_up_on(const std::string& topology) {
  const Cluster cluster = build_cluster(load_cluster(topology));
  if (const std::string why = lab_error(cluster); !why.empty())
    throw ConfigError(fmt::format("{}: error: {}", topology, why));
  const LabPlan plan = lab_plan(cluster, std::filesystem::absolute(topology).string());
  if (const std::string problem = lab_up(plan); !problem.empty()) return fail(problem);
  for (const std::string& note : plan.notes) fmt::print(stderr, "note: {}\n", note);
  return printed(to_text(plan.lab));
}

int lab_gone() {
  const LabRemoval removal = lab_down();
  if (!removal.problem.empty()) return fail(removal.problem);
  if (removal.namespaces == 0) return printed("no lab was up\n");
  return printed(fmt::format("removed {} namespaces\n", removal.namespaces));
}

int lab_status() {
  if (const auto lab = lab_that_is_up()) {
    // Only root may look into namespaces.
    return printed(to_text(*lab) + (geteuid() == 0 ? to_text(drops(*lab)) : ""));
  }
  const std::size_t left = lab_namespaces().size();
  if (left == 0) return printed("no lab is up\n");
  return printed(fmt::format(
      "no lab is up; {} namespaces of one are left, 'windtunnel lab down' removes them\n", left));
}

void add_validate_options(CLI::App* verb, ValidateOptions& tables, TrialOptions& jobs,
                          std::string& profile) {
  verb->add_option("FILE", tables.files, "tables of published measurements (CSV), or jobs (YAML)")
      ->required();
  verb->add_option("--out", tables.out, "folder for all that is written; jobs: default out/trials");
  verb->add_option("--split", tables.split, "rows to report: test (default), calibrate or all")
      ->group(kTableOptions);
  verb->add_option("--rules", tables.rules, "how rows become jobs; default: systems.yaml nearby")
      ->group(kTableOptions);
  verb->add_option("--jobs", tables.workers, "processes at once; default: one for each core")
      ->check(CLI::Range(1, 4096))
      ->group(kTableOptions);
  verb->add_option("--write-readme", tables.readme, "file whose accuracy table is replaced")
      ->group(kTableOptions);
  verb->add_option("--write-intervals", tables.intervals,
                   "file for the p10 and p90 of published / predicted, by class of run")
      ->group(kTableOptions);
  verb->add_flag("--zero-shot", tables.zero_shot,
                 "without the numbers that calibrate.py fitted to calibrate rows")
      ->group(kTableOptions);
  verb->add_option("--set", jobs.overrides, "path=value overrides a key")
      ->allow_extra_args(false)
      ->take_all()
      ->group(kJobOptions);
  verb->add_option("--profile", profile, "what calibrate measured; short for --set profile=FILE")
      ->group(kJobOptions);
  verb->add_flag("--lab", jobs.lab, "run on the hosts of the lab that is up")->group(kJobOptions);
}

void add_plot_options(CLI::App* verb, PlotOptions& options) {
  verb->add_option("DIR", options.folder, "folder of simulate --out or of sweep --out")->required();
  verb->add_option("--kind", options.kind, "timeline, breakdown, memory or scaling")->required();
  verb->add_option("--format", options.format, "svg (default) or png");
  verb->add_option("--out", options.out, "file to write; default: KIND.FORMAT in DIR");
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
  compare_verb->add_option("--out", options.out, "folder for compare.html and compare.json");
  compare_verb->add_option("--json", options.json, "also write the comparison to this file");
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Windtunnel predicts distributed deep-learning training before anyone pays for it.",
               "windtunnel");
  app.require_subcommand(1);

  CLI::App* check_verb = app.add_subcommand("check", "Validate YAML files, nothing else");
  check_verb
      ->add_option("FILE", options.files, "GPU, node, cluster, price, model, job or profile files")
      ->required();

  CLI::App* plan_verb = app.add_subcommand("plan", "Print what every rank does, as text");
  CLI::App* simulate_verb = app.add_subcommand("simulate", "Predict one training step");
  CLI::App* sweep_verb = app.add_subcommand("sweep", "Simulate every combination of values");
  CLI::App* compare_verb = app.add_subcommand("compare", "Explain why two runs differ");
  CLI::App* export_verb = app.add_subcommand("export", "Write a job in the forms of other tools");
  for (CLI::App* verb : {plan_verb, simulate_verb, sweep_verb, export_verb}) {
    verb->add_option("JOB", options.job, "job file")->required();
    verb->add_option("--set", options.overrides, "path=value overrides a key of the job")
        ->allow_extra_args(false)
        ->take_all();
  }
  simulate_verb->add_option("--profile", options.profile,
                            "what calibrate measured; short for --set profile=FILE");
  simulate_verb->add_option("--out", options.out,
                            "folder for report.html, report.json, ranks.csv, trace.json");
  export_verb->add_option("--chakra", options.chakra,
                          "folder for Chakra execution traces, one file for each rank");
  export_verb->add_option("--schedule-csv", options.schedule_csv,
                          "file for the pipeline schedule, in PyTorch's form");
  for (CLI::App* verb : {simulate_verb, sweep_verb})
    verb->add_flag("--allow-oom", options.allow_oom, "simulate a job that does not fit");
  add_options(sweep_verb, compare_verb, options);
  PlotOptions plot_options;
  CLI::App* plot_verb = app.add_subcommand("plot", "Draw what simulate or sweep wrote");
  add_plot_options(plot_verb, plot_options);
  ValidateOptions validate_options;
  TrialOptions trial_options;
  CLI::App* validate_verb = app.add_subcommand(
      "validate", "Predict measurements, published (CSV) or made here (jobs), and show the errors");
  add_validate_options(validate_verb, validate_options, trial_options, options.profile);

  CLI::App* run_verb = app.add_subcommand("run", "Run a job's step on real devices");
  CLI::App* calibrate_verb = app.add_subcommand("calibrate", "Measure this machine or cluster");
  for (CLI::App* verb : {run_verb, calibrate_verb}) {
    verb->prefix_command();
    verb->set_help_flag();
  }

  CLI::App* lab_verb = app.add_subcommand("lab", "Emulate a cluster on this machine (needs root)");
  lab_verb->require_subcommand(1);
  CLI::App* up_verb = lab_verb->add_subcommand("up", "Build a topology, in place of what is there");
  up_verb->add_option("TOPOLOGY", options.topology, "cluster file")->required();
  CLI::App* down_verb = lab_verb->add_subcommand("down", "Remove it, or what a crash left of it");
  lab_verb->add_subcommand("status", "Show what is up");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongInput;
  }
  if (!options.profile.empty())
    for (auto* overrides : {&options.overrides, &trial_options.overrides})
      overrides->push_back("profile=" + options.profile);
  try {
    if (check_verb->parsed()) return check(options);
    if (plan_verb->parsed()) return plan(options);
    if (export_verb->parsed()) return export_job(options);
    if (sweep_verb->parsed()) return sweep_job(options);
    if (compare_verb->parsed()) return compare_runs(options);
    if (plot_verb->parsed()) return plot_folder(plot_options);
    if (validate_verb->parsed())
      return validate_files(*validate_verb, validate_options, trial_options);
    for (const CLI::App* verb : {run_verb, calibrate_verb})
      if (verb->parsed()) return pass_to_backend(*verb);
    if (up_verb->parsed()) return lab_up_on(options.topology);
    if (down_verb->parsed()) return lab_gone();
    if (lab_verb->parsed()) return lab_status();
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

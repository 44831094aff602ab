// Runs jobs on real devices: each rank is one process of this program. Exit codes as the
// predictor's: 0 done, 1 the machine failed us, 2 wrong input.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/backend_error.hpp"
#include "backend/calibrate/add_communication.hpp"
#include "backend/calibrate/calibrate.hpp"
#include "backend/comm/watchdog.hpp"
#include "backend/execute/real_work.hpp"
#include "backend/execute/run_rank.hpp"
#include "backend/lab/lab.hpp"
#include "backend/launch/supervisor.hpp"
#include "backend/model/blas.hpp"
#include "backend/model/samples.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "report/report.hpp"

namespace {

using namespace windtunnel;

constexpr int kDone = 0, kFailed = 1, kWrongInput = 2;

struct Options {
  std::string job, out;
  std::vector<std::string> overrides;
  int ranks = 0;  // 0: as many as the job has GPUs
  bool lab = false;
};

struct CalibrateOptions {
  std::vector<std::string> jobs, nccl_tests, overrides;
  std::string out;
  int ranks = 0;  // 0: as many as the largest job has GPUs
  bool allow_noise = false;
  bool lab = false;
};

int fail(const std::string& why) {
  fmt::print(stderr, "error: {}\n", why);
  return kFailed;
}

Job loaded(const Options& options) {
  std::vector<std::string> overrides = options.overrides;
  if (options.ranks > 0) overrides.push_back(fmt::format("gpus={}", options.ranks));
  Job job = load_job(options.job, overrides);
  if (job.recorded)
    throw ConfigError(
        fmt::format("{}: error: a recorded step has times but no tensors: it can be "
                    "simulated, not run",
                    options.job));
  for (const auto& [simulated, key] :
       {std::pair(job.parallel.expert_dispatch != TokenDispatch::Direct,
                  "expert_dispatch: two_level"),
        std::pair(job.parallel.overlap_experts, "overlap_experts")})
    if (simulated)
      throw ConfigError(fmt::format("{}: error: parallel.{} is simulated only", options.job, key));
  if (job.compute == ComputeMode::Real) {
    if (const std::string complaint = run_complaint(job); !complaint.empty())
      throw ConfigError(fmt::format("{}: error: {}", options.job, complaint));
    if (job.data) read_samples(*job.data);  // whoever lacks files knows it before any rank starts
  }
  return job;
}

std::string write_results(const Options& options, const Job& job, const Plan& plan,
                          const MeasuredRun& run, const Report& report) {
  if (options.out.empty()) return "";
  const std::string problem = write_outputs(options.out, job, plan, run.trace, report);
  return problem.empty() ? write_measured(options.out, run) : problem;
}

// This process is one rank.
int run_one_rank(const Options& options, const Job& job, const Place& place) {
  const Plan plan = build_plan(job);
  if (place.world != plan.grid.size())
    throw ConfigError(fmt::format("{}: error: the job has {} ranks, but {} processes were started",
                                  options.job, plan.grid.size(), place.world));
  Rendezvous rendezvous(place);
  Watchdog watchdog(place);
  const auto run =
      run_rank(job, plan, rendezvous, [&](const std::string& what) { watchdog.doing(what); });
  if (!run) return kDone;
  const Report report = summarize(job, plan, run->trace);
  std::string text =
      fmt::format("measured: {} steps, median {:.6g} s, p10 {:.6g} s, p90 {:.6g} s\n{}\n{}",
                  run->step_times.size(), run->median, run->p10, run->p90,
                  run->noise.empty() ? "" : "noisy: " + run->noise + "\n", to_text(report, job));
  const std::string problem = write_results(options, job, plan, *run, report);
  if (!problem.empty()) return fail(problem);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return std::fflush(stdout) == 0 ? kDone : fail("cannot write to standard output");
}

// This process starts the ranks, on this host or in the lab's.
int run_all_ranks(ProcessJob processes, bool in_lab) {
  processes.command.front() = "/proc/self/exe";
  std::optional<Lab> lab;
  if (in_lab) {
    lab = lab_that_is_up();
    if (!lab) return fail("no lab is up: 'windtunnel lab up TOPOLOGY' builds one");
    const LabHost& last = lab->hosts.back();
    if (last.first_rank + last.ranks < processes.processes)
      return fail(fmt::format("the lab has room for {} ranks, the job has {}",
                              last.first_rank + last.ranks, processes.processes));
    processes.address = lab->hosts.front().address;
    processes.environment["GLOO_SOCKET_IFNAME"] = lab->hosts.front().interface;
    processes.in_child = [&lab](int rank) {
      for (const LabHost& host : lab->hosts)
        if (rank >= host.first_rank && rank < host.first_rank + host.ranks)
          if (const std::string problem = enter(host); !problem.empty())
            throw BackendError(problem);
    };
  }
  const long long before = lab ? drops(*lab).packets() : 0;
  if (const auto end = run_processes(processes)) {
    fmt::print(stderr, "error: {}\n", end->text);
    return end->exit_code == kWrongInput ? kWrongInput : kFailed;
  }
  if (lab && drops(*lab).packets() > before)
    return fail(fmt::format("the lab's queues dropped {} packets: the times are not the topology's",
                            drops(*lab).packets() - before));
  return kDone;
}

int run_job(const Options& options, const std::vector<std::string>& command) {
  const Job job = loaded(options);
  if (const auto place = place_from_environment()) {
    if (job.compute == ComputeMode::Real)
      if (const std::string complaint = blas_complaint(measured_blas(), slowest_rate());
          !complaint.empty())
        return fail(complaint);
    return run_one_rank(options, job, *place);
  }
  return run_all_ranks({.command = command, .processes = job.gpus}, options.lab);
}

// ---- calibrate ----------------------------------------------------------------------------------

constexpr std::size_t kMostComplaints = 8;

const GpuSpec& gpu_of(const Job& job) {
  return job.cluster.node_types.front().gpu;
}

// One profile is of CPU cores or of one kind of GPU. Throws ConfigError.
void refuse_other_gpu(const std::string& file, const std::vector<Job>& jobs) {
  const GpuSpec &first = gpu_of(jobs.front()), &last = gpu_of(jobs.back());
  const bool are_cores = first.arch == "cpu" && last.arch == "cpu";
  if (first.name != last.name && !are_cores)
    throw ConfigError(
        fmt::format("{}: error: its ranks are {}, those of the first job {}: "
                    "a profile is of one kind",
                    file, last.name, first.name));
}

// A lab's hosts are nodes of its topology, though all on this machine.
int ranks_per_node(const CalibrateOptions& options, const Place& place) {
  if (!options.lab) return place.local_world;
  const std::optional<Lab> lab = lab_that_is_up();
  if (!lab) throw BackendError("the lab is gone");
  return lab->hosts.front().ranks;
}

int write_calibrated(const std::string& path, const Profile& profile) {
  const std::string problem = write_profile(path, profile);
  if (!problem.empty()) return fail(problem);
  fmt::print("wrote {}\n", path);
  return kDone;
}

// This process is one rank.
int calibrate_one_rank(const CalibrateOptions& options, const std::vector<Job>& jobs,
                       const std::optional<Profile>& tests, const Place& place) {
  if (computes(jobs))
    if (const std::string complaint = blas_complaint(measured_blas(), slowest_rate());
        !complaint.empty())
      return fail(complaint);
  Rendezvous rendezvous(place);
  Watchdog watchdog(place);
  auto calibration = calibrate(jobs, rendezvous, ranks_per_node(options, place),
                               [&](const std::string& what) { watchdog.doing(what); });
  if (!calibration) return kDone;
  const std::vector<std::string>& noise = calibration->noise;
  if (!noise.empty()) {
    const std::string why = fmt::format("{} figures are noisy\n{}", noise.size(),
                                        complaints_text(noise, kMostComplaints));
    if (!options.allow_noise)
      return fail(why + "nothing is written; --allow-noise writes a profile marked as noisy");
    fmt::print(stderr, "{}", why);
    calibration->profile.noise =
        fmt::format("{} figures, the first: {}", noise.size(), noise.front());
  }
  if (tests) add_communication(*tests, calibration->profile);
  return write_calibrated(options.out, calibration->profile);
}

int run_calibrate(const CalibrateOptions& options, const std::vector<std::string>& command) {
  std::optional<Profile> tests;
  if (!options.nccl_tests.empty()) tests = load_nccl_tests(options.nccl_tests);
  if (tests && options.jobs.empty()) return write_calibrated(options.out, *tests);
  std::vector<Job> jobs;
  int ranks = 1;
  for (const std::string& file : options.jobs) {
    jobs.push_back(load_job(file, options.overrides));
    ranks = std::max(ranks, jobs.back().gpus);
    if (const std::string complaint = run_complaint(jobs.back()); !complaint.empty())
      throw ConfigError(fmt::format("{}: error: {}", file, complaint));
    refuse_other_gpu(file, jobs);
  }
  if (const auto place = place_from_environment())
    return calibrate_one_rank(options, jobs, tests, *place);
  if (const std::string noise = noise_of_machine(); !noise.empty() && !options.allow_noise)
    return fail(
        fmt::format("the machine is not quiet: {}; --allow-noise measures all the same and "
                    "marks the profile",
                    noise));
  return run_all_ranks({.command = command, .processes = options.ranks > 0 ? options.ranks : ranks},
                       options.lab);
}

void add_calibrate_options(CLI::App* verb, CalibrateOptions& options) {
  verb->add_option("JOB", options.jobs, "jobs whose layers, collectives and messages are measured");
  verb->add_option("--ranks", options.ranks, "processes; default: as many as the largest job has")
      ->check(CLI::Range(1, 4096));
  verb->add_option("--out", options.out, "profile to write")->required();
  verb->add_option("--set", options.overrides, "path=value overrides a key of every job")
      ->allow_extra_args(false)
      ->take_all();
  verb->add_option("--nccl-tests", options.nccl_tests,
                   "adds what all_reduce_perf and its sisters printed; without a JOB nothing is "
                   "measured");
  verb->add_flag("--lab", options.lab, "on the hosts of the lab that is up");
  verb->add_flag("--allow-noise", options.allow_noise,
                 "write a profile, marked as noisy, where figures do not repeat");
}

// -------------------------------------------------------------------------------------------------

int run(int argc, char** argv) {
  Options options;
  CalibrateOptions calibrate_options;
  CLI::App app("Windtunnel's backend runs training jobs on real devices.", "windtunnel");
  app.require_subcommand(1);
  CLI::App* run_verb = app.add_subcommand("run", "Run a job's step on real devices");
  run_verb->add_option("JOB", options.job, "job file")->required();
  run_verb->add_option("--ranks", options.ranks, "ranks, in place of the job's gpus")
      ->check(CLI::Range(1, 4096));
  run_verb->add_option("--out", options.out,
                       "folder for measured.json, report.html, report.json, trace.json");
  run_verb->add_option("--set", options.overrides, "path=value overrides a key of the job")
      ->allow_extra_args(false)
      ->take_all();
  run_verb->add_flag("--lab", options.lab, "on the hosts of the lab that is up");
  CLI::App* calibrate_verb = app.add_subcommand("calibrate", "Measure this machine or cluster");
  add_calibrate_options(calibrate_verb, calibrate_options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongInput;
  }
  try {
    const std::vector<std::string> command(argv, argv + argc);
    if (calibrate_verb->parsed()) return run_calibrate(calibrate_options, command);
    return run_job(options, command);
  } catch (const ConfigError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return kWrongInput;
  } catch (const BackendError& error) {
    return fail(error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int code = run(argc, argv);
  std::fflush(nullptr);
  // Streams of a step that failed may still wait for others; nothing they hold is worth waiting.
  if (code != kDone) _exit(code);
  return code;
}

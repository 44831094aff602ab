// From a Trace to the numbers and files that people read. Every number in every output comes from
// here.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "plan/job.hpp"
#include "plan/plan.hpp"
#include "plan/trace.hpp"
#include "report/standing.hpp"

namespace windtunnel {

// Where one rank's step time goes. The parts sum to the step time.
struct Breakdown {
  Seconds forward, backward, input_gradient, weight_gradient, recompute, optimizer;  // computing
  Seconds kernels;               // computing, of a recording that does not say what for
  Seconds tensor_communication;  // tensor-parallel collectives on the compute stream
  Seconds pipeline_transfer;     // idle while the message it waits for is on the way
  Seconds data_communication;    // idle while a gradient reduction or parameter gather runs
  Seconds other_communication;   // embedding and norm reductions
  Seconds bubble;                // idle for any other reason: nothing to do yet
  Seconds computing() const {
    return forward + backward + input_gradient + weight_gradient + recompute + optimizer + kernels;
  }
};

struct RankSummary {
  int rank = 0;
  int represented = 1;
  int pipeline = 0;
  Breakdown time;
  MemoryByKind memory{};  // at the peak
  Bytes capacity;         // of the smallest GPU that a rank of this pipeline coordinate runs on
};

struct Report {
  std::string job, model, cluster;
  int gpus = 0;
  Seconds step_time;
  double samples_per_s = 0;
  std::optional<double> tokens_per_s;  // models on sequences
  Flops model_flops;             // of one step, no recomputation, attention over the full square
  Flops hardware_flops;          // model_flops plus what recomputation runs again
  Flops causal_flops;            // model_flops with only the causal half of attention
  std::optional<FlopRate> peak;  // of one GPU at the job's precision, dense; slowest type if mixed
  std::optional<double> mfu, hfu, mfu_causal;
  // 1 - (busy time of the compute streams, tensor-parallel collectives included) / (ranks x step
  // time), over all ranks.
  double bubble_fraction = 0;
  std::vector<RankSummary> ranks;  // one per simulated rank
  std::size_t critical = 0;        // index into ranks: the one that computes longest
  std::optional<Usd> cost_per_step, cost_per_million_tokens, cost_of_run;
  std::optional<Joules> energy_per_step;
  std::optional<Seconds> run_time;   // of total_tokens
  std::optional<Standing> standing;  // of a prediction; a measured step has none
};

Report summarize(const Job& job, const Plan& plan, const Trace& trace);

std::string to_text(const Report& report, const Job& job);  // the terminal report
std::string to_json(const Report& report, const Job& job);  // report.json; keys in report/README.md
std::string ranks_csv(const Report& report);
std::string chrome_trace(const Job& job, const Plan& plan, const Trace& trace);  // trace.json

// The memory table that refuses a job which does not fit; empty if every rank fits.
std::string memory_complaint(const Job& job, const Plan& plan);

// "trace.json", or above a million spans "trace.pftrace": Perfetto's own form.
std::string trace_file_name(const Trace& trace);

// Writes report.json, ranks.csv, the trace and report.html into `folder` (made if absent), each
// under a temporary name and renamed when complete. Returns what went wrong as a sentence, or an
// empty string; on failure no partly written file is left.
std::string write_outputs(const std::filesystem::path& folder, const Job& job, const Plan& plan,
                          const Trace& trace, const Report& report);
// The same for a profile's one file.
std::string write_profile(const std::filesystem::path& path, const Profile& profile);

}  // namespace windtunnel

// A step that real devices ran: what the backend measures and writes, and validation reads.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "plan/plan.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

struct MeasuredRun {
  std::string job;
  std::string date;                     // ISO 8601, UTC
  std::string machine;                  // processor or GPU, cores, kernel
  std::string software;                 // versions of the libraries that did the work
  Trace trace;                          // of the step whose time is nearest to the median
  std::vector<double> step_times;       // seconds, of the steps that count, in order
  double p10 = 0, median = 0, p90 = 0;  // seconds, of step_times
  int attempts = 1;                     // repetitions until the machine was quiet
  std::string noise;                    // why the figures are not to be trusted, or empty
  std::vector<double> losses;           // by step, warm-up included; empty when compute is emulated
  std::vector<Bytes> peak_memory;       // by rank: resident set (CPU) or allocated (GPU)
  std::vector<Bytes> peak_reserved;     // by rank: of the GPU, by the allocator; empty on CPUs
};

std::string to_json(const MeasuredRun& run);  // measured.json

// Writes measured.json into `folder` (made if absent), as write_outputs writes.
std::string write_measured(const std::filesystem::path& folder, const MeasuredRun& run);

// The run of `plan` that this text describes. Throws std::runtime_error when it is not one.
MeasuredRun measured_run(const std::string& json, const Plan& plan);

}  // namespace windtunnel

// A trial: a job is predicted, run for real, and the two are compared by cause.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace windtunnel {

struct TrialOptions {
  std::vector<std::string> jobs;       // job files
  std::vector<std::string> overrides;  // path=value, of every job
  std::filesystem::path out;           // folder that gets a folder for each job
  bool lab = false;                    // run on the hosts of the lab that is up
};

struct TrialOutcome {
  std::string text;     // for the terminal
  std::string problem;  // what the machine could not do, or empty
  bool passed = true;   // every job within its tolerance, on a quiet machine
};

// Writes for each job, in this order: OUT/JOB/predicted/ as simulate does, with prediction.json
// that says when; then OUT/JOB/measured/ as run does; then OUT/JOB/trial.json and both.json, the
// two timelines in one trace. A job without a tolerance is reported and always passes. Throws
// ConfigError for wrong jobs, before the first runs.
TrialOutcome try_jobs(const TrialOptions& options);

}  // namespace windtunnel

// One published row as a job.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands/validate_rules.hpp"
#include "commands/validate_table.hpp"
#include "plan/job.hpp"

namespace windtunnel {

// Why a row cannot be simulated: a kind that many rows share, and what is special about this one.
struct Refusal {
  std::string reason, detail;
};

// The job as the text of a workload file, so that the loader's checks apply and the job can be run
// by itself. Paths in it start at the folder of the rules.
struct MappedRow {
  std::optional<Refusal> refusal;
  std::string job;   // a workload file that the row names; then the rest is empty
  std::string text;  // without the key recompute
  std::vector<std::string> overrides;
  // In order: the first that fits in memory is taken, the last if none does.
  std::vector<std::string> recompute;
  // Where the row does not say: the fastest that fits is taken, the first if none does.
  std::vector<long long> micro_batches;
  std::vector<std::string> assumed;
  // Equal for rows that give equal jobs.
  std::string key() const;
};

MappedRow mapped_row(const PublishedRow& row, const Rules& rules);

// The job with the chosen recompute, and micro-batch unless it is 0. Throws ConfigError.
Job job_of(const MappedRow& mapped, std::string_view recompute, long long micro_batch,
           const Rules& rules);

}  // namespace windtunnel

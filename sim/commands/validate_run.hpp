// The rows of published tables, simulated in worker processes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/validate_job.hpp"
#include "commands/validate_null.hpp"
#include "commands/validate_statistics.hpp"
#include "commands/validate_table.hpp"

namespace windtunnel {

// What one job gives.
struct JobOutcome {
  std::optional<Refusal> refusal;
  std::string recompute;            // the one taken
  long long micro_batch = 0;        // the one taken of several
  double seconds = 0;               // 0 where only memory was asked for
  double memory = 0, capacity = 0;  // bytes, of the fullest rank
  // Of it what PyTorch counts as reserved (without CUDA's and NCCL's own), and as allocated
  // (without what its allocator cannot use, too).
  double reserved = 0, allocated = 0;
  double least_seconds = 0;
  double whole_over_causal_flops = 1;
  NullTerms terms{};
  bool fits() const { return memory <= capacity; }
};

struct ValidatedRow {
  PublishedRow row;
  std::string table;  // file stem
  MappedRow mapped;
  std::optional<PublishedTime> published;  // nothing for a row that ran out of memory
  bool is_oom = false;
  // Its time was computed from a FLOP rate as if that counted the causal half of attention, and it
  // counts the whole.
  bool counts_whole_attention = false;
  std::optional<double> published_memory;  // bytes, of the peak
  std::string memory_counts;               // what its tool counts
  JobOutcome outcome;
  std::optional<double> null_flops, null_regression;  // seconds

  bool is_simulated() const { return !outcome.refusal; }
  bool is_timed() const { return is_simulated() && published.has_value(); }
  // Predicted and published bytes of the peak, as the row's tool counts them.
  std::optional<Pair> memory_pair() const;
  Pair pair() const { return {outcome.seconds, published ? published->seconds : 0}; }
  // Rows of equal groups differ by their layout only.
  std::string group() const;
  // And these by their schedule only.
  std::string group_of_schedules() const;
};

enum class Split { Test, Calibrate, All };

struct Validation {
  std::vector<std::string> tables;  // in the order given
  std::vector<ValidatedRow> rows;   // of the split, in the order of the tables
};

// Throws ConfigError for tables that cannot be read.
Validation validated(const std::vector<std::string>& files, const Rules& rules, Split split,
                     int workers);

}  // namespace windtunnel

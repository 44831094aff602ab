// The rows of a validation as figures of merit, by table.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "commands/validate_run.hpp"

namespace windtunnel {

// Whether jobs fit: the published outcome against the memory model.
struct MemoryTable {
  int fits_right = 0;   // ran, and is said to fit
  int fits_wrong = 0;   // ran, and is said not to fit
  int fails_right = 0;  // ran out of memory, and is said not to fit
  int fails_wrong = 0;  // ran out of memory, and is said to fit
  int rows() const { return fits_right + fits_wrong + fails_right + fails_wrong; }
};

struct TableSummary {
  std::string table;
  std::size_t rows = 0;                // timed + memory_only + the sum of `refused`
  std::size_t timed = 0;               // simulated, with a published time
  std::size_t memory_only = 0;         // ran out of memory: only whether it fits is compared
  std::map<std::string, int> refused;  // by reason
  std::optional<ErrorSummary> errors;
  // Of the groups of at least three layouts, weighted by their rows.
  std::size_t groups = 0;
  std::optional<double> spearman, regret;
  double worst_regret = 0;
  // Mean |error| of the ratio of two times, over all pairs of runs that differ by their schedule
  // only.
  std::optional<double> schedule_ratio;
  std::optional<double> null_flops, null_regression;  // MAPE on the same rows
  MemoryTable memory;
  std::optional<ErrorSummary> memory_errors;  // of the peak, where one is published
};

// One for each table, in order, and last one named "all".
std::vector<TableSummary> summaries(const Validation& validation);

std::string to_text(const std::vector<TableSummary>& tables);
std::string summary_csv(const std::vector<TableSummary>& tables);
std::string summary_json(const std::vector<TableSummary>& tables);
std::string rows_csv(const Validation& validation);
// Every row with its error, for a table of few.
bool is_small(const Validation& validation);
std::string rows_text(const Validation& validation);

// Markdown: the accuracy table, and what was not simulated.
std::string to_markdown(const std::vector<TableSummary>& tables);
// `text` with what stands between the marks "<!-- MARK: begin -->" and "<!-- MARK: end -->"
// replaced. Throws ConfigError if it lacks them.
std::string between_marks(const std::string& text, std::string_view mark,
                          const std::string& content, const std::string& name);

}  // namespace windtunnel

// One case of a sweep as a row of sweep.csv.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands/csv.hpp"

namespace windtunnel {

// How a case ended, in the column "status".
inline constexpr std::string_view kOk = "ok";
inline constexpr std::string_view kOutOfMemory = "oom";  // refused: a rank does not fit
inline constexpr std::string_view kInvalid = "invalid";  // refused by the loader
inline constexpr std::string_view kCrashed = "crashed";  // the process ended without a result

// The columns after the varied keys; `gpus` is absent where it is a varied key itself.
std::vector<std::string> sweep_columns(const std::vector<std::string>& keys);

// The last column of that name: a varied key of the same name stands before it.
std::size_t column_of(const std::vector<std::string>& columns, std::string_view name);
// The number in a field; nothing if the field holds none.
std::optional<double> number_in(const std::string& field);

struct SweepJob {
  std::string path;
  std::vector<std::string> overrides;
  bool allow_oom = false;
};

// Simulates, and returns what belongs below `columns`, without the varied keys. Numbers are those
// of report.json. Input that a loader refuses makes a row; crashes are the caller's to catch.
CsvRow simulated_row(const SweepJob& job, const std::vector<std::string>& columns);
// The row of a case without numbers.
CsvRow failed_row(std::string_view status, std::string_view reason,
                  const std::vector<std::string>& columns);

}  // namespace windtunnel

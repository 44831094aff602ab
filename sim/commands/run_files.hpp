// What `simulate --out` wrote, read back.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "commands/csv.hpp"

namespace windtunnel {

using TimeParts = std::vector<std::pair<std::string, double>>;  // seconds by cause

// A row of ranks.csv.
struct RankRow {
  int rank = 0, stage = 0;
  double represented = 1;  // ranks that it stands for
  TimeParts parts;
};

struct RunFiles {
  std::string path;  // as the user gave it
  nlohmann::ordered_json report;
  double step_time = 0;           // s
  TimeParts critical;             // breakdown_s; sums to the step time
  std::vector<RankRow> ranks;     // of ranks.csv
  std::optional<TimeParts> mean;  // the parts over all ranks
};

// A folder with report.json and ranks.csv, or a report.json, with or without ranks.csv beside it.
// Throws ConfigError for whatever is missing or wrong.
RunFiles run_files(const std::filesystem::path& path);

std::string job_name(const RunFiles& run);

// For readers of such files: throw ConfigError with the path before the reason.
[[noreturn]] void refuse_file(const std::filesystem::path& path, const std::string& why);
std::string content_or_refuse(const std::filesystem::path& path);
// The lines of a CSV file, the header first, all as long as it is.
std::vector<CsvRow> csv_or_refuse(const std::filesystem::path& path);

}  // namespace windtunnel

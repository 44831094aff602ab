// What `simulate --out` wrote, read back.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace windtunnel {

using TimeParts = std::vector<std::pair<std::string, double>>;  // seconds by cause

struct RunFiles {
  std::string path;  // as the user gave it
  nlohmann::ordered_json report;
  double step_time = 0;           // s
  TimeParts critical;             // breakdown_s; sums to the step time
  std::optional<TimeParts> mean;  // the same over all ranks, from ranks.csv
};

// A folder with report.json and ranks.csv, or a report.json, with or without ranks.csv beside it.
// Throws ConfigError for whatever is missing or wrong.
RunFiles run_files(const std::filesystem::path& path);

}  // namespace windtunnel

// Why two runs take different times.
#pragma once

#include <filesystem>
#include <string>

namespace windtunnel {

struct Comparison {
  std::string text;  // for the terminal
  std::string json;
};

// Each side is a folder that `simulate --out` wrote, or the report.json of one. With ranks.csv
// beside it (a folder must have it) the differences are also given as means over all ranks.
// The differences of the parts sum exactly to the difference of the step times: times count in
// whole picoseconds in the JSON and in whole last digits in the text.
// Throws ConfigError for whatever cannot be read as such a run.
Comparison compare(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace windtunnel

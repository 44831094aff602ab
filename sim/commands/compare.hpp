// Why two runs take different times.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace windtunnel {

using CompareTable = std::vector<std::vector<std::string>>;  // lines of cells, the head first

struct Comparison {
  CompareTable headline, inputs, causes;
  std::string ranks;  // which ranks `causes` compares
  std::string text;   // all of it for the terminal
  std::string json;
};

// Each side is a folder that `simulate --out` wrote, or the report.json of one. With ranks.csv
// beside it (a folder must have it) the differences are also given as means over all ranks.
// The differences of the parts sum exactly to the difference of the step times: times count in
// whole picoseconds in the JSON and in whole last digits in the text.
// Throws ConfigError for whatever cannot be read as such a run.
Comparison compare(const std::filesystem::path& a, const std::filesystem::path& b);

// compare.html: the tables, and the timelines of both runs on one axis of time. Each side needs the
// trace.json beside its report.json; throws ConfigError where it is missing or wrong.
std::string compare_page(const Comparison& comparison, const std::filesystem::path& a,
                         const std::filesystem::path& b);

}  // namespace windtunnel

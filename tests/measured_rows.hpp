// The rows of a table of measurements in tests/data.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "commands/csv.hpp"

namespace windtunnel {

// Without its comments and its header.
inline std::vector<CsvRow> measured_rows(const std::string& table) {
  std::ifstream file(WINDTUNNEL_SOURCE_DIR "/tests/data/" + table);
  REQUIRE(file);
  std::vector<CsvRow> rows;
  bool header_read = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    if (header_read) rows.push_back(csv_fields(line));
    header_read = true;
  }
  return rows;
}

}  // namespace windtunnel

// Rows of comma-separated text, each on one line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace windtunnel {

using CsvRow = std::vector<std::string>;

// Without the newline at the end. Fields are quoted where they must be; a field must not hold a
// line break.
std::string csv_line(const CsvRow& fields);
// The fields of such a line.
CsvRow csv_fields(std::string_view line);

}  // namespace windtunnel

// The rows of a sweep as people read them.
#pragma once

#include <string>
#include <vector>

#include "commands/csv.hpp"
#include "commands/sweep_points.hpp"

namespace windtunnel {

struct SweepTable {
  std::vector<std::string> titles;
  std::vector<CsvRow> rows;           // a cell below each title, "-" where there is nothing
  std::vector<std::string> failures;  // why rows have no numbers
  std::vector<std::string> findings;  // what the numbers mean, the knee, the cheapest point
};

SweepTable sweep_table(const SweepPoints& sweep);

std::string to_text(const SweepTable& table);
// The same words on the page and on pictures.
std::string_view name_of(Scaling scaling);  // "weak scaling: the batch grows with the GPUs"

}  // namespace windtunnel

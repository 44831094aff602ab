// The rows of a sweep as people read them.
#pragma once

#include <string>
#include <vector>

#include "commands/cases.hpp"
#include "commands/csv.hpp"

namespace windtunnel {

// Speed-up is throughput over that of the first row that ran. Where `gpus` is varied, rows that
// differ in other axes are series of their own, each with its own first row, and efficiency is
// throughput per GPU over that of the first row: for strong scaling (the batch stays) the speed-up
// over the factor of GPUs, for weak scaling (the batch grows with them) the step time of the first
// row over this one's. The knee is the largest number of GPUs with an efficiency of at least 80 %.
struct SweepTable {
  std::vector<std::string> titles;
  std::vector<CsvRow> rows;           // a cell below each title, "-" where there is nothing
  std::vector<std::string> failures;  // why rows have no numbers
  std::vector<std::string> findings;  // what the numbers mean, the knee, the cheapest point
};

SweepTable sweep_table(const std::vector<Axis>& axes, const std::vector<SweepCase>& cases,
                       const std::vector<std::string>& header, const std::vector<CsvRow>& rows);

std::string to_text(const SweepTable& table);

}  // namespace windtunnel

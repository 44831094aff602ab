// Prints predicted beside published step times, with the error of every row and their mean.
//
//     validate_published validation/published/korthikanti-2022.csv
//
// A table has a header `job,published_s`, then one row a run; jobs are paths from the current
// folder. Lines that begin with # are comments. Nothing here tunes anything.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"

namespace {

using namespace windtunnel;

Seconds predicted(const std::string& path) {
  const Job job = load_job(path);
  return simulate(build_plan(job), build_cluster(job.cluster, job.gpus), conditions_of(job)).end;
}

int print_table(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    fmt::print(stderr, "{}: error: cannot be read\n", path);
    return 2;
  }
  double sum = 0;
  int rows = 0;
  fmt::print("{:<44} {:>11} {:>11} {:>8}\n", "job", "published", "predicted", "error");
  for (std::string line; std::getline(file, line);) {
    const std::size_t comma = line.find(',');
    if (line.empty() || line[0] == '#' || comma == std::string::npos || line == "job,published_s")
      continue;
    const std::string job = line.substr(0, comma);
    const double published = std::strtod(line.c_str() + comma + 1, nullptr);
    const double seconds = predicted(job).value;
    const double error = seconds / published - 1;
    sum += std::abs(error);
    ++rows;
    fmt::print("{:<44} {:>9.2f} s {:>9.2f} s {:>+7.1f} %\n", job, published, seconds, 100 * error);
  }
  if (rows > 0) fmt::print("mean absolute error over {} rows: {:.1f} %\n", rows, 100 * sum / rows);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: validate_published TABLE.csv\n");
    return 2;
  }
  try {
    return print_table(argv[1]);
  } catch (const windtunnel::ConfigError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}

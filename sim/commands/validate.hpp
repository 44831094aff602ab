// Predictions against tables of published measurements.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace windtunnel {

struct ValidateOptions {
  std::vector<std::string> files;
  std::string split = "test";    // test, calibrate or all
  std::string rules;             // empty: systems.yaml beside the first table or one folder above
  std::filesystem::path out;     // folder for rows.csv, summary.* and pictures; empty: none
  std::filesystem::path readme;  // file whose accuracy table is replaced; empty: none
  std::filesystem::path intervals;  // file that becomes intervals.json; empty: none
  bool zero_shot = false;           // without what was fitted: no framework has a `host`
  int workers = 0;                  // processes at once; 0: one for each core
};

struct ValidateOutcome {
  std::string text;     // for the terminal
  std::string problem;  // what the machine could not do, or empty
};

// Throws ConfigError for tables, rules or options that are wrong.
ValidateOutcome validate(const ValidateOptions& options);

}  // namespace windtunnel

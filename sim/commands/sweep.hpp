// Many simulations of one job with some of its keys varied: sweep.csv, a table, and the table as a
// page.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace windtunnel {

struct SweepOptions {
  std::string job;
  std::vector<std::string> overrides;  // as --set takes them
  std::vector<std::string> vary;       // as cases.hpp describes
  std::filesystem::path out;           // folder of sweep.csv, sweep.html and sweep.journal
  int workers = 0;                     // processes at once; 0: one for each core
  bool allow_oom = false;
};

struct SweepOutcome {
  std::string text;     // the table for the terminal; empty on all ranks but the first
  std::string problem;  // why the machine could not finish it, or empty
  std::size_t cases = 0;
  std::size_t reused = 0;    // rows that an earlier sweep left in the journal
  bool all_invalid = false;  // the loader refused every case
};

// Every case runs in a process of its own; a case that fails is a row that says why. A sweep that
// was killed goes on where it was, and its sweep.csv is byte for byte the one of an unbroken sweep.
// A changed job, file, override or program makes old rows void.
// Started several times by mpirun or srun, the cases spread over the ranks, and rank 0 writes.
// Call it before this process simulates anything: SimGrid's clock would go on, and with it last
// digits change.
// Throws ConfigError for wrong options, and where no case could be tried.
SweepOutcome sweep(const SweepOptions& options);

}  // namespace windtunnel

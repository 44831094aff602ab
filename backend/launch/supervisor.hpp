// Starts the processes of a job on this host and ends them together: none outlives the first that
// fails, the supervisor, or a signal to it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace windtunnel {

struct ProcessJob {
  std::vector<std::string> command;  // run once for each rank; found as execvp(3) finds it
  int processes = 1;
  std::string address = "127.0.0.1";               // where rank 0 opens the store
  std::map<std::string, std::string> environment;  // beside this process's own
  // Runs in the child before the command, to enter a network namespace, say. What it throws ends
  // that rank.
  std::function<void(int rank)> in_child;
};

struct RankEnd {
  int rank = 0;
  int exit_code = 0;  // or 128 + the signal
  std::string text;   // "rank 2 was killed by signal 9 (Killed)"
};

// Ranks read their places from the environment (place_from_environment); number-crunching libraries
// get one thread each. Rank 0 has this process's standard output; what the others print, and what
// all write to standard error, comes out on standard error after "[rank] ". Nobody has a standard
// input. SIGINT and SIGTERM are passed on.
// Returns, when all have ended, how the first one that failed ended; empty: all succeeded. Throws
// BackendError when it cannot start them. Call it before this process has other threads.
std::optional<RankEnd> run_processes(const ProcessJob& job);

}  // namespace windtunnel

// Jobs of tests/backend/rank_program.cpp, and what is left of them.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "backend/launch/supervisor.hpp"
#include "folder.hpp"

namespace windtunnel {

// Standard output or error of this process into a file, while it lives.
class Captured {
 public:
  Captured(int stream, const std::filesystem::path& path) : stream_(stream), before_(dup(stream)) {
    std::fflush(nullptr);
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(file, stream_);
    close(file);
  }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  ~Captured() {
    std::fflush(nullptr);
    dup2(before_, stream_);
    close(before_);
  }

 private:
  int stream_, before_;
};

struct EndOfRanks {
  std::string how;     // of the first one that failed; empty: all succeeded
  int exit_code = 0;   // its
  std::string output;  // standard output
  std::string errors;  // standard error
};

inline EndOfRanks end_of(const ProcessJob& job) {
  const TemporaryFolder folder("ranks");
  EndOfRanks end;
  {
    const Captured output(STDOUT_FILENO, folder.path / "out");
    const Captured errors(STDERR_FILENO, folder.path / "err");
    if (const auto failure = run_processes(job)) {
      end.how = failure->text;
      end.exit_code = failure->exit_code;
    }
  }
  end.output = text_of(folder.path / "out");
  end.errors = text_of(folder.path / "err");
  return end;
}

inline EndOfRanks end_of_ranks(int ranks, const std::vector<std::string>& words) {
  ProcessJob job;
  job.processes = ranks;
  job.command = {WINDTUNNEL_RANK_PROGRAM};
  job.command.insert(job.command.end(), words.begin(), words.end());
  return end_of(job);
}

}  // namespace windtunnel

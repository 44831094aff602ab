// One process that the supervisor has started.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "backend/launch/supervisor.hpp"

namespace windtunnel {

// Leads a process group of its own, so that what it starts ends with it.
class Child {
 public:
  // Throws BackendError.
  Child(const ProcessJob& job, int rank, int port);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // kills what is left

  int output() const { return output_; }  // what it prints; negative at the end
  // Reads what is there and prints whole lines; `last`: the unfinished one too.
  void pass_output_on(bool last = false);
  std::optional<RankEnd> end();  // how it ended, once, when it has
  bool running() const { return running_; }
  void signal(int number) const;  // to its process group

 private:
  void print_lines();

  int rank_;
  pid_t process_ = -1;
  int output_ = -1;
  bool running_ = true;
  std::string unprinted_;  // the line that has not ended yet
};

}  // namespace windtunnel

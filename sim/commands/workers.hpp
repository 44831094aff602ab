// Tasks in processes of their own: whatever happens to one, the others go on. A process forked for
// each task also gives each simulation a SimGrid that nobody used before.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace windtunnel {

class Workers {
 public:
  struct Ended {
    std::size_t index = 0;
    bool completed = false;
    std::string text;  // of the task; or why it did not complete
  };

  // `task` makes the text for an index, in a child process.
  Workers(int most, std::function<std::string(std::size_t)> task);
  ~Workers();  // kills what still runs
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  bool has_room() const { return running_.size() < most_; }
  bool is_busy() const { return !running_.empty(); }
  // Returns what went wrong as a sentence, or an empty string.
  std::string start(std::size_t index);
  // Those that ended, after waiting until one does or the milliseconds are over (-1: never).
  std::vector<Ended> wait(int milliseconds);

 private:
  struct Process {
    std::size_t index = 0;
    pid_t id = -1;
    int output = -1;  // standard error, then a mark and the text
    std::string text;
  };
  [[noreturn]] void run(std::size_t index, int output, pid_t parent) const;
  static Ended ended(const Process& process);

  std::size_t most_;
  std::function<std::string(std::size_t)> task_;
  std::vector<Process> running_;
};

// Cores that this process may use.
int available_cores();

}  // namespace windtunnel

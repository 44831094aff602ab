// What calibration is at, and how long it will still take.
#pragma once

#include <string>

namespace windtunnel {

// On a terminal one line that is rewritten; elsewhere a line on standard error for each task.
class Progress {
 public:
  // `shown`: whether this process reports at all.
  explicit Progress(bool shown);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void expect(double work) { expected_ += work; }  // of tasks to come, in any unit
  // The next task begins; the one before it has ended.
  void begin(const std::string& task, double work);

 private:
  bool shown_, terminal_;
  double start_, expected_ = 0, done_ = 0, current_ = 0;
};

}  // namespace windtunnel

// How far a sweep is, on one line of the terminal; nothing where standard error is no terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace windtunnel {

// What is known of a sweep while it runs. Seconds count from its start.
struct SweepProgress {
  std::size_t cases = 0, reused = 0, done = 0;  // `done` with those reused from a journal
  double now = 0;
  double last = 0;  // when a case ended last
};

// About how many seconds are left, or negative before the first case has ended. Between two ends it
// counts down from what the cases so far say, and up again once the running ones take longer.
double seconds_left(const SweepProgress& progress);

// "[#####.....] 5/10 cases, 12 s left"
std::string progress_text(const SweepProgress& progress);

class ProgressBar {
 public:
  static constexpr int kTick = 250;  // ms between looks while nothing ends

  ProgressBar(bool is_wanted, std::size_t cases, std::size_t reused);
  ~ProgressBar();  // leaves the line empty
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  bool is_shown() const { return is_shown_; }
  void show(std::size_t done);

 private:
  bool is_shown_;
  SweepProgress progress_;
  std::chrono::steady_clock::time_point start_;
  std::string shown_;
};

}  // namespace windtunnel

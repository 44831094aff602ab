#include "backend/calibrate/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "backend/execute/device.hpp"

namespace windtunnel {

Progress::Progress(bool shown)
    : shown_(shown), terminal_(isatty(STDOUT_FILENO) != 0), start_(monotonic_seconds()) {}

Progress::~Progress() {
  if (!shown_ || !terminal_) return;
  fmt::print("\r{:78}\r", "");
  std::fflush(stdout);
}

void Progress::begin(const std::string& task, double work) {
  done_ += current_;
  current_ = work;
  if (!shown_) return;
  const double elapsed = monotonic_seconds() - start_;
  const double part = expected_ > 0 ? done_ / expected_ : 0;
  // Before a twentieth is done nothing can be said.
  const std::string rest =
      part > 0.05 ? fmt::format(", {:.0f} s to go", elapsed / part * (1 - part)) : "";
  const std::string line = fmt::format("{:3.0f} %  {}{}", 100 * part, task, rest);
  if (terminal_)
    fmt::print("\r{:<78}", line.substr(0, 78));
  else
    fmt::print(stderr, "{}\n", line);
  std::fflush(terminal_ ? stdout : stderr);
}

}  // namespace windtunnel

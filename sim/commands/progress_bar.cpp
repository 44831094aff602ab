#include "commands/progress_bar.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace windtunnel {

double seconds_left(const SweepProgress& progress) {
  const auto ended = double(progress.done - progress.reused);
  const auto rest = double(progress.cases - progress.done);
  if (ended == 0) return rest == 0 ? 0 : -1;
  const double each = progress.last / ended, since = progress.now - progress.last;
  const double counted_down = each * rest - since;
  // If a case ended at this moment; one that is late may need as long again.
  const double late = rest > 0 ? std::max(0.0, since - each) : 0;
  const double at_least = progress.now / (ended + 1) * std::max(0.0, rest - 1) + late;
  return std::max(counted_down, at_least);
}

std::string progress_text(const SweepProgress& progress) {
  constexpr std::size_t kColumns = 30;
  const std::size_t filled = kColumns * progress.done / std::max<std::size_t>(1, progress.cases);
  const double left = seconds_left(progress);
  constexpr double kMinutes = 100, kHours = 7200;
  const auto text = [](double seconds) {
    if (seconds >= kHours) return fmt::format("{:.1f} h", seconds / 3600);
    return seconds >= kMinutes ? fmt::format("{:.0f} min", seconds / 60)
                               : fmt::format("{:.0f} s", seconds);
  };
  return fmt::format("[{}{}] {}/{} cases, {}", std::string(filled, '#'),
                     std::string(kColumns - filled, '.'), progress.done, progress.cases,
                     left < 0 ? "for " + text(progress.now) : text(left) + " left");
}

ProgressBar::ProgressBar(bool is_wanted, std::size_t cases, std::size_t reused)
    : is_shown_(is_wanted && cases > 0 && isatty(STDERR_FILENO) != 0),
      progress_{.cases = cases, .reused = reused, .done = reused},
      start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() {
  if (is_shown_) fmt::print(stderr, "\r{:70}\r", "");
}

void ProgressBar::show(std::size_t done) {
  if (!is_shown_) return;
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
  progress_.now = spent.count();
  if (done != progress_.done) progress_.last = progress_.now;
  progress_.done = done;
  std::string text = progress_text(progress_);
  if (text == shown_) return;
  shown_ = std::move(text);
  fmt::print(stderr, "\r{:<70}", shown_);
  std::fflush(stderr);
}

}  // namespace windtunnel

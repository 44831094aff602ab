#include "backend/launch/supervisor.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>

#include "backend/backend_error.hpp"
#include "backend/launch/child.hpp"
#include "backend/launch/free_port.hpp"

namespace windtunnel {

namespace {

using Clock = std::chrono::steady_clock;

// From SIGTERM to SIGKILL: time to close files, little enough that nobody waits for a stopped rank.
constexpr auto kGrace = std::chrono::seconds(3);

// SIGINT, SIGTERM and SIGCHLD as something to poll, while it lives.
class Signals {
 public:
  Signals() {
    sigset_t caught;
    sigemptyset(&caught);
    for (const int number : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&caught, number);
    sigprocmask(SIG_BLOCK, &caught, &before_);
    file_ = signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    close(file_);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }

  int file() const { return file_; }
  // The request to end that has come, or 0.
  int request() const {
    signalfd_siginfo info{};
    int number = 0;
    while (read(file_, &info, sizeof info) == sizeof info)
      if (info.ssi_signo != SIGCHLD) number = static_cast<int>(info.ssi_signo);
    return number;
  }

 private:
  sigset_t before_{};
  int file_ = -1;
};

class Supervisor {
 public:
  explicit Supervisor(const ProcessJob& job) {
    const int port = free_port();
    for (int rank = 0; rank < job.processes; ++rank)
      children_.push_back(std::make_unique<Child>(job, rank, port));
  }

  std::optional<RankEnd> run() {
    while (running()) {
      wait_for_news();
      if (const int number = signals_.request()) end_all(number);
      for (const auto& child : children_) child->pass_output_on();
      note_ends();
      if (failure_ && !killed_ && Clock::now() >= kill_at_) {
        for (const auto& child : children_) child->signal(SIGKILL);
        killed_ = true;
      }
    }
    for (const auto& child : children_) child->pass_output_on(true);
    return failure_;
  }

 private:
  bool running() const {
    return std::any_of(children_.begin(), children_.end(),
                       [](const auto& child) { return child->running(); });
  }
  void wait_for_news() const {
    std::vector<pollfd> files = {{signals_.file(), POLLIN, 0}};
    for (const auto& child : children_)
      if (child->output() >= 0) files.push_back({child->output(), POLLIN, 0});
    int milliseconds = -1;
    if (failure_ && !killed_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(kill_at_ - Clock::now());
      milliseconds = static_cast<int>(std::max<std::int64_t>(0, left.count()));
    }
    poll(files.data(), files.size(), milliseconds);
  }

  // The first failure is the cause of those that follow. Of those found together, a rank that was
  // killed did not fail because of another.
  void note_ends() {
    std::vector<RankEnd> failures;
    for (bool found = true; found;) {  // again: one may have ended, and another because of it
      found = false;
      for (const auto& child : children_)
        if (const auto end = child->end()) {
          found = true;
          if (end->exit_code != 0) failures.push_back(*end);
        }
    }
    if (failure_ || failures.empty()) return;
    failure_ = *std::max_element(
        failures.begin(), failures.end(),
        [](const auto& a, const auto& b) { return (a.exit_code > 128) < (b.exit_code > 128); });
    end_all(SIGTERM);
  }

  void end_all(int number) {
    for (const auto& child : children_) {
      child->signal(number);
      child->signal(SIGCONT);  // a stopped process takes no signal but SIGKILL
    }
    if (!failure_) failure_ = RankEnd{-1, 128 + number, fmt::format("ended by signal {}", number)};
    kill_at_ = std::min(kill_at_, Clock::now() + kGrace);
  }

  Signals signals_;
  std::vector<std::unique_ptr<Child>> children_;
  std::optional<RankEnd> failure_;
  Clock::time_point kill_at_ = Clock::time_point::max();
  bool killed_ = false;
};

}  // namespace

std::optional<RankEnd> run_processes(const ProcessJob& job) {
  return Supervisor(job).run();
}

}  // namespace windtunnel

#include "commands/workers.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sched.h>
#include <sys/prctl.h>
#endif

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string_view>
#include <system_error>
#include <thread>

namespace windtunnel {
namespace {

// Ends what a task's process wrote to standard error; a text that no message contains.
constexpr std::string_view kMark{"\0result\0", 8};

void write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) ::_exit(1);  // the parent is gone
    text.remove_prefix(std::size_t(count));
  }
}

int exit_status_of(pid_t id) {
  int status = 0;
  while (::waitpid(id, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

int available_cores() {
#ifdef __linux__
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(1, CPU_COUNT(&cores));
#endif
  return std::max(1, int(std::thread::hardware_concurrency()));
}

Workers::Workers(int most, std::function<std::string(std::size_t)> task)
    : most_(std::size_t(std::max(1, most))), task_(std::move(task)) {}

Workers::~Workers() {
  for (const Process& process : running_) {
    ::kill(process.id, SIGKILL);
    exit_status_of(process.id);
    ::close(process.output);
  }
}

std::string Workers::start(std::size_t index) {
  int ends[2];
  if (::pipe(ends) != 0) return "cannot make a pipe: " + std::generic_category().message(errno);
  const pid_t parent = ::getpid();
  std::fflush(nullptr);  // else the child may write what waits in the parent's buffers too
  const pid_t id = ::fork();
  if (id == 0) {
    ::close(ends[0]);
    run(index, ends[1], parent);
  }
  const int error = errno;
  ::close(ends[1]);
  if (id < 0) {
    ::close(ends[0]);
    return "cannot start a process: " + std::generic_category().message(error);
  }
  running_.push_back({index, id, ends[0], ""});
  return "";
}

void Workers::run(std::size_t index, int output, pid_t parent) const {
#ifdef __linux__
  // A killed sweep leaves no workers behind.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  if (::getppid() != parent) ::_exit(1);
  ::dup2(output, STDERR_FILENO);
  try {
    const std::string text = task_(index);
    write_all(output, kMark);
    write_all(output, text);
    ::_exit(0);
  } catch (const std::exception& error) {
    write_all(output, error.what());
  } catch (...) {
    write_all(output, "an unknown exception");
  }
  // No destructors and no buffers of the parent's.
  ::_exit(1);
}

Workers::Ended Workers::ended(const Process& process) {
  const int status = exit_status_of(process.id);
  const std::size_t mark = process.text.find(kMark);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && mark != std::string::npos)
    return {process.index, true, process.text.substr(mark + kMark.size())};
  std::string why =
      WIFSIGNALED(status)
          ? fmt::format("ended by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)))
          : fmt::format("ended with exit code {}", WEXITSTATUS(status));
  const std::string said = process.text.substr(0, mark);
  if (!said.empty()) why += ": " + said;
  return {process.index, false, why};
}

std::vector<Workers::Ended> Workers::wait(int milliseconds) {
  std::vector<pollfd> outputs;
  for (const Process& process : running_) outputs.push_back({process.output, POLLIN, 0});
  std::vector<Ended> finished;
  if (::poll(outputs.data(), outputs.size(), milliseconds) <= 0) return finished;
  std::vector<Process> still_running;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Process& process = running_[i];
    char buffer[1 << 14];
    const ssize_t count =
        outputs[i].revents == 0 ? -1 : ::read(process.output, buffer, sizeof buffer);
    if (count > 0) process.text.append(buffer, std::size_t(count));
    if (count != 0) {
      still_running.push_back(std::move(process));
      continue;
    }
    ::close(process.output);
    finished.push_back(ended(process));
  }
  running_ = std::move(still_running);
  return finished;
}

}  // namespace windtunnel

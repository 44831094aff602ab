#include "backend/launch/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "backend/backend_error.hpp"

namespace windtunnel {

namespace {

// What a rank finds in its environment beside what the supervisor has.
std::map<std::string, std::string> environment_of(const ProcessJob& job, int rank, int port) {
  std::map<std::string, std::string> variables = {
      // One rank is one compute thread: three libraries with a thread pool of their own.
      {"OMP_NUM_THREADS", "1"},
      {"OPENBLAS_NUM_THREADS", "1"},
      {"MKL_NUM_THREADS", "1"},
      {"WINDTUNNEL_RANK", std::to_string(rank)},
      {"WINDTUNNEL_WORLD", std::to_string(job.processes)},
      {"WINDTUNNEL_LOCAL_RANK", std::to_string(rank)},
      {"WINDTUNNEL_LOCAL_WORLD", std::to_string(job.processes)},
      {"WINDTUNNEL_ADDRESS", job.address},
      {"WINDTUNNEL_PORT", std::to_string(port)}};
  for (const auto& [name, value] : job.environment) variables[name] = value;
  return variables;
}

[[noreturn]] void become(const ProcessJob& job, int rank, int port, pid_t parent, int output) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it died before it could be said that we die with it

  dup2(output, STDERR_FILENO);
  if (rank != 0) dup2(output, STDOUT_FILENO);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const auto& [name, value] : environment_of(job, rank, port))
    setenv(name.c_str(), value.c_str(), 1);

  try {
    if (job.in_child) job.in_child(rank);
  } catch (const std::exception& error) {
    dprintf(STDERR_FILENO, "%s\n", error.what());
    _exit(1);
  }
  std::vector<char*> words;
  for (const std::string& word : job.command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  dprintf(STDERR_FILENO, "cannot run \"%s\": %s\n", words[0], std::strerror(errno));
  _exit(127);  // as a shell says it
}

}  // namespace

Child::Child(const ProcessJob& job, int rank, int port) : rank_(rank) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw BackendError(fmt::format("cannot start rank {}: {}", rank, std::strerror(errno)));
  const pid_t parent = getpid();
  process_ = fork();
  if (process_ == 0) become(job, rank, port, parent, ends[1]);
  const int error = errno;
  close(ends[1]);
  output_ = ends[0];
  if (process_ < 0) {
    close(output_);
    throw BackendError(fmt::format("cannot start rank {}: {}", rank, std::strerror(error)));
  }
  setpgid(process_, process_);  // here too: whoever comes first
  fcntl(output_, F_SETFL, O_NONBLOCK);
}

Child::~Child() {
  signal(SIGKILL);
  if (running_) waitpid(process_, nullptr, 0);
  if (output_ >= 0) close(output_);
}

void Child::signal(int number) const {
  kill(-process_, number);
}

void Child::pass_output_on(bool last) {
  char buffer[4096];
  ssize_t count = 0;
  while (output_ >= 0 && (count = read(output_, buffer, sizeof buffer)) > 0) {
    unprinted_.append(buffer, static_cast<std::size_t>(count));
    print_lines();
  }
  const bool more_to_come = output_ >= 0 && count < 0 && errno == EAGAIN;
  if (more_to_come && !last) return;
  if (output_ >= 0) close(output_);
  output_ = -1;
  if (!unprinted_.empty()) unprinted_ += '\n';
  print_lines();
}

void Child::print_lines() {
  std::size_t begin = 0;
  for (std::size_t end; (end = unprinted_.find('\n', begin)) != std::string::npos; begin = end + 1)
    fmt::print(stderr, "[{}] {}\n", rank_, unprinted_.substr(begin, end - begin));
  unprinted_.erase(0, begin);
}

std::optional<RankEnd> Child::end() {
  if (!running_) return std::nullopt;
  siginfo_t info{};
  if (waitid(P_PID, process_, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
    return std::nullopt;
  signal(SIGKILL);  // what it has left behind, while its number still means its group
  waitpid(process_, nullptr, 0);
  running_ = false;
  const int status = info.si_status;  // the exit code, or the signal
  if (info.si_code == CLD_EXITED)
    return RankEnd{rank_, status, fmt::format("rank {} exited with code {}", rank_, status)};
  return RankEnd{
      rank_, 128 + status,
      fmt::format("rank {} was killed by signal {} ({})", rank_, status, strsignal(status))};
}

}  // namespace windtunnel

#include "backend/lab/command.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <system_error>

namespace windtunnel {
namespace {

using Clock = std::chrono::steady_clock;

// A command on a lab takes milliseconds; a machine that swaps, a second.
constexpr std::chrono::seconds kLongest{10};

// PATH may be that of a user, without the folders where `ip` and `tc` are.
std::string search_path() {
  const char* path = std::getenv("PATH");
  return fmt::format("{}:/usr/sbin:/usr/bin:/sbin:/bin", path == nullptr ? "" : path);
}

std::string reason_of(int error) {
  return std::generic_category().message(error);
}

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) == 0) read = ends[0], write = ends[1];
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_write();
    if (read >= 0) ::close(read);
  }
  void close_write() {
    if (write >= 0) ::close(write);
    write = -1;
  }
};

// The process, or -1 with errno.
pid_t start(const Command& command, const Pipe& out, const Pipe& err) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // In the C locale messages are the same everywhere.
  std::string path = "PATH=" + search_path(), locale = "LC_ALL=C";
  std::array<char*, 3> environment = {path.data(), locale.data(), nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out.write, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, err.write, STDERR_FILENO);
  pid_t id = -1;
  const int error = ::posix_spawn(&id, path_of(command.front()).c_str(), &files, nullptr,
                                  arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&files);
  errno = error;
  return error == 0 ? id : -1;
}

// Reads both to their ends; false if that takes until the deadline.
bool read_both(const Pipe& out, const Pipe& err, Clock::time_point deadline, std::string& out_text,
               std::string& err_text) {
  std::array<pollfd, 2> files = {pollfd{out.read, POLLIN, 0}, pollfd{err.read, POLLIN, 0}};
  const std::array<std::string*, 2> texts = {&out_text, &err_text};
  while (files[0].fd >= 0 || files[1].fd >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    if (::poll(files.data(), files.size(), int(left)) < 0 && errno != EINTR) return false;
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (files[i].fd < 0 || files[i].revents == 0) continue;
      std::array<char, 1 << 14> buffer{};
      const ssize_t count = ::read(files[i].fd, buffer.data(), buffer.size());
      if (count > 0) texts[i]->append(buffer.data(), std::size_t(count));
      if (count == 0 || (count < 0 && errno != EINTR)) files[i].fd = -1;
    }
  }
  return true;
}

std::string without_newlines_at_end(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

std::string to_text(const Command& command) {
  return fmt::format("{}", fmt::join(command, " "));
}

std::string path_of(const std::string& program) {
  std::istringstream folders(search_path());
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string path = fmt::format("{}/{}", folder, program);
    if (!folder.empty() && ::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

Ran ran(const Command& command) {
  Ran result;
  const auto failed = [&](const std::string& why) {
    result.problem = fmt::format("'{}' failed: {}", to_text(command), why);
    return result;
  };
  Pipe out, err;
  if (out.read < 0 || err.read < 0) return failed("cannot make a pipe: " + reason_of(errno));
  const pid_t id = start(command, out, err);
  if (id < 0) return failed("cannot start it: " + reason_of(errno));
  out.close_write();
  err.close_write();
  std::string said;
  const bool ended = read_both(out, err, Clock::now() + kLongest, result.out, said);
  if (!ended) ::kill(id, SIGKILL);
  int status = 0;
  while (::waitpid(id, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) return failed(fmt::format("it took more than {} s", kLongest.count()));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return result;
  said = without_newlines_at_end(said);
  if (WIFSIGNALED(status)) return failed(fmt::format("ended by signal {}", WTERMSIG(status)));
  return failed(said.empty() ? fmt::format("exit code {}", WEXITSTATUS(status)) : said);
}

}  // namespace windtunnel

#include "commands/backend_program.hpp"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace windtunnel {

namespace fs = std::filesystem;

fs::path backend_program() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).parent_path() / "windtunnel_backend";
}

std::string backend_complaint() {
  if (::access(backend_program().c_str(), X_OK) == 0) return "";
  return fmt::format(
      "'{}' is missing, which runs jobs on real devices: build with -DWINDTUNNEL_BACKEND=ON "
      "(./windtunnel does it for run, calibrate and validate JOB)",
      backend_program().string());
}

int run_backend(const std::vector<std::string>& arguments) {
  const std::string program = backend_program().string();
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t child = 0;
  if (const int error =
          posix_spawn(&child, program.c_str(), nullptr, nullptr, argv.data(), environ);
      error != 0) {
    fmt::print(stderr, "error: cannot start '{}': {}\n", program,
               std::generic_category().message(error));
    return 127;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace windtunnel

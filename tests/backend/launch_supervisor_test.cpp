// What a rank finds when it starts, what comes out where, and that nothing stays behind.
#include "backend/catch.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "backend/backend_error.hpp"
#include "ranks.hpp"

namespace windtunnel {

namespace {

ProcessJob shell(int ranks, const std::string& script) {
  ProcessJob job;
  job.processes = ranks;
  job.command = {"/bin/sh", "-c", script};
  return job;
}

std::vector<std::string> sorted_lines(const std::string& text) {
  std::vector<std::string> lines = lines_of(text);
  std::sort(lines.begin(), lines.end());
  return lines;
}

// Processes whose command line has `mark` in it, beside zombies, which have none.
int processes_with(const std::string& mark) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc"))
    count += text_of(entry.path() / "cmdline").find(mark) != std::string::npos;
  return count;
}

// A killed process is gone a moment later; one that is not killed never is.
bool none_left_with(const std::string& mark) {
  for (int i = 0; i < 10000 && processes_with(mark) > 0; ++i) usleep(1000);
  return processes_with(mark) == 0;
}

}  // namespace

TEST_CASE("a rank finds its place and one thread for each library") {
  const EndOfRanks end = end_of(
      shell(2,
            "echo $WINDTUNNEL_RANK $WINDTUNNEL_WORLD $WINDTUNNEL_LOCAL_RANK "
            "$WINDTUNNEL_LOCAL_WORLD $WINDTUNNEL_ADDRESS $OMP_NUM_THREADS "
            "$OPENBLAS_NUM_THREADS $MKL_NUM_THREADS; [ $WINDTUNNEL_PORT -gt 0 ]; read nothing; "
            "[ -z \"$nothing\" ]"));
  CHECK(end.how == "");
  CHECK(end.output == "0 2 0 2 127.0.0.1 1 1 1\n");
  CHECK(end.errors == "[1] 1 2 1 2 127.0.0.1 1 1 1\n");
}

TEST_CASE("standard errors carry their rank, line by line") {
  const EndOfRanks end = end_of(shell(2, "printf 'one\\ntwo' >&2"));
  CHECK(sorted_lines(end.errors) ==
        std::vector<std::string>{"[0] one", "[0] two", "[1] one", "[1] two"});
}

TEST_CASE("the job's own variables and its hook reach the child") {
  ProcessJob job = shell(2, "echo $GREETING $HOOK >&2");
  job.environment = {{"GREETING", "hello"}};
  job.in_child = [](int rank) { setenv("HOOK", std::to_string(rank + 10).c_str(), 1); };
  CHECK(sorted_lines(end_of(job).errors) ==
        std::vector<std::string>{"[0] hello 10", "[1] hello 11"});
  job.in_child = [](int) { throw std::runtime_error("no such namespace"); };
  const EndOfRanks end = end_of(job);
  CHECK(end.exit_code == 1);
  CHECK(end.errors.find("no such namespace\n") != std::string::npos);
}

TEST_CASE("the first rank that fails is named and ends the others") {
  const EndOfRanks code = end_of(shell(3, "[ $WINDTUNNEL_RANK = 2 ] && exit 7; sleep 1000"));
  CHECK(code.how == "rank 2 exited with code 7");
  CHECK(code.exit_code == 7);
  const EndOfRanks killed = end_of(shell(3, "[ $WINDTUNNEL_RANK = 1 ] && kill -9 $$; sleep 1000"));
  CHECK(killed.how == "rank 1 was killed by signal 9 (Killed)");
  CHECK(killed.exit_code == 137);
  // One that does not listen to SIGTERM, nor its children.
  const EndOfRanks deaf =
      end_of(shell(2, "[ $WINDTUNNEL_RANK = 1 ] && exit 3; trap '' TERM; sleep 1000; sleep 1000"));
  CHECK(deaf.how == "rank 1 exited with code 3");
}

TEST_CASE("a command that is not there") {
  ProcessJob job;
  job.command = {"/no/such/program"};
  const EndOfRanks end = end_of(job);
  CHECK(end.how == "rank 0 exited with code 127");
  CHECK(end.errors == "[0] cannot run \"/no/such/program\": No such file or directory\n");
}

TEST_CASE("nothing that a rank has started stays behind") {
  const std::string mark = "98765432" + std::to_string(getpid());  // as seconds of sleep
  CHECK(end_of(shell(2, "sleep " + mark + " & exit 0")).how == "");
  CHECK(none_left_with(mark));
  CHECK(end_of(shell(2, "sleep " + mark + " & exit $WINDTUNNEL_RANK")).exit_code == 1);
  CHECK(none_left_with(mark));
}

TEST_CASE("a signal to the supervisor reaches the ranks, and its death ends them") {
  const int number = GENERATE(SIGINT, SIGTERM, SIGKILL);
  const TemporaryFolder folder("supervisor");
  const std::string mark = "87654321" + std::to_string(getpid());
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    const auto end = run_processes(
        shell(2, "touch " + (folder.path / "$WINDTUNNEL_RANK").string() + "; exec sleep " + mark));
    _exit(end ? end->exit_code : 0);
  }
  while (!std::filesystem::exists(folder.path / "0") || !std::filesystem::exists(folder.path / "1"))
    usleep(1000);
  kill(supervisor, number);
  int status = 0;
  waitpid(supervisor, &status, 0);
  if (number != SIGKILL) CHECK(WEXITSTATUS(status) == 128 + number);
  CHECK(none_left_with(mark));
}

}  // namespace windtunnel

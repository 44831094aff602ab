// Programs as the lab runs them.
#include <string>

#include "backend/lab/command.hpp"
#include "catch.hpp"

namespace windtunnel {

TEST_CASE("command: what it prints comes back, and words are not split or expanded") {
  const Ran echo = ran({"echo", "a  b", "$HOME", "*"});
  CHECK(echo.out == "a  b $HOME *\n");
  CHECK(echo.problem.empty());
}

TEST_CASE("command: more output than a pipe holds") {
  const Ran zeros = ran({"head", "-c", "1000000", "/dev/zero"});
  CHECK(zeros.out.size() == 1'000'000);
  CHECK(zeros.problem.empty());
}

TEST_CASE("command: failures say which command and why") {
  CHECK(ran({"false"}).problem == "'false' failed: exit code 1");
  CHECK(ran({"cat", "/nonexistent"}).problem ==
        "'cat /nonexistent' failed: cat: /nonexistent: No such file or directory");
  CHECK(ran({"no-such-program", "x"}).problem ==
        "'no-such-program x' failed: cannot start it: No such file or directory");
  CHECK(ran({"sh", "-c", "kill -9 $$"}).problem == "'sh -c kill -9 $$' failed: ended by signal 9");
}

TEST_CASE("command: programs are found in the system's folders") {
  CHECK(!path_of("sh").empty());
  CHECK(path_of("no-such-program").empty());
}

}  // namespace windtunnel

// Ranks that die, hang or never come: everybody ends, and the message says who it was.
#include "backend/catch.hpp"

#include "ranks.hpp"

namespace windtunnel {

TEST_CASE("a rank that is killed ends the job and is named", "[gloo]") {
  const int ranks = GENERATE(2, 4);
  const EndOfRanks end = end_of_ranks(ranks, {"killed"});
  CHECK(end.how == "rank 1 was killed by signal 9 (Killed)");
  CHECK(end.exit_code == 137);
}

TEST_CASE("a rank that never comes is named by those who came") {
  const TemporaryFolder folder("absent");
  const EndOfRanks end = end_of_ranks(3, {"absent", folder.path.string()});
  CAPTURE(end.how, end.errors);
  CHECK(end.exit_code == 1);
  CHECK(end.errors.find("error: rank 1 did not come to the start within 5 s (2 of 3 did)\n") !=
        std::string::npos);
}

TEST_CASE("a rank that hangs is found by the watchdog", "[gloo]") {
  const EndOfRanks end = end_of_ranks(3, {"stopped_1"});
  CAPTURE(end.how, end.errors);
  CHECK(end.exit_code == 1);
  CHECK(end.errors.find("rank 1 has not been heard of for 60 s; its last step was 3F1\n") !=
        std::string::npos);
}

TEST_CASE("the rank that hosts the store hangs, and is found too", "[gloo]") {
  const EndOfRanks end = end_of_ranks(3, {"stopped_0"});
  CAPTURE(end.how, end.errors);
  CHECK(end.exit_code == 1);
  // Who was just listening when it stopped says so in other words.
  const bool is_named =
      end.errors.find("rank 0 hosts it, its last step was 3F1\n") != std::string::npos ||
      end.errors.find(
          "rank 0 has not been heard of for 60 s; its last step was "
          "3F1\n") != std::string::npos;
  CHECK(is_named);
}

TEST_CASE("ranks that end one after the other are not taken for lost") {
  const std::string scene = GENERATE("host_leaves_first", "host_leaves_last");
  CAPTURE(scene);
  const EndOfRanks end = end_of_ranks(3, {scene});
  CHECK(end.how == "");
  CHECK(end.errors == "");
}

}  // namespace windtunnel

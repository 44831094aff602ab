// Text of the form that nccl-tests prints, made up here.
#include <string>

#include "catch.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "folder.hpp"

using namespace windtunnel;

namespace {

const std::string kRanks =
    "# nThread 1 nGpus 1 minBytes 1024 maxBytes 16777216 step: 128(factor) warmup iters: 5\n"
    "#\n"
    "# Using devices\n"
    "#  Rank  0 Group  0 Pid   4711 on     node-1 device  0 [0x07] Made-up GPU 9000\n"
    "#  Rank  1 Group  0 Pid   4712 on     node-1 device  1 [0x0f] Made-up GPU 9000\n"
    "#  Rank  2 Group  0 Pid   4713 on     node-2 device  0 [0x07] Made-up GPU 9000\n"
    "#  Rank  3 Group  0 Pid   4714 on     node-2 device  1 [0x0f] Made-up GPU 9000\n"
    "#\n"
    "#                                                     out-of-place              in-place\n"
    "#    size   count   type  redop  root   time  algbw  busbw #wrong   time  algbw  busbw "
    "#wrong\n"
    "#     (B) (elements)                    (us) (GB/s) (GB/s)          (us) (GB/s) (GB/s)\n";
const std::string kRows =
    "     1024     256  float    sum    -1  20.00   0.05   0.08      0  25.00   0.04   0.06    0\n"
    "   131072   32768  float    sum    -1  40.00   3.28   4.92      0  50.00   2.62   3.93  N/A\n"
    " 16777216 4194304  float    sum    -1   2000   8.39  12.58      0   1000  16.78  25.17    0\n"
    "# Out of bounds values : 0 OK\n"
    "# Avg bus bandwidth    : 7.79\n";

std::string problem_of(const std::string& name, const std::string& text) {
  const TemporaryFolder folder("nccl_tests");
  write_text(folder.path / name, text);
  try {
    load_nccl_tests({(folder.path / name).string()});
  } catch (const ConfigError& error) {
    const std::string what = error.what();
    return what.substr(what.find(name));
  }
  return "";
}

}  // namespace

TEST_CASE("nccl-tests: an all-reduce in place, over two nodes") {
  const TemporaryFolder folder("nccl_tests");
  const std::string reduce = folder.path / "all_reduce_perf.txt", gather = folder.path / "b.log",
                    pair = folder.path / "c.log";
  write_text(reduce, kRanks + kRows);
  write_text(gather, "# Collective test starting: all_gather_perf\n" + kRanks + kRows);
  write_text(pair, "# Collective test starting: sendrecv_perf\n" + kRanks + kRows);
  const Profile profile = load_nccl_tests({reduce, gather, pair});
  CHECK(profile.hardware == "Made-up GPU 9000");
  REQUIRE(profile.collectives.size() == 2);
  const CollectiveTime& time = profile.collectives[0];
  CHECK(time.kind == CollectiveKind::AllReduce);
  CHECK(time.purpose == CollectivePurpose::Plain);
  CHECK(time.ranks == 4);
  CHECK(time.nodes == 2);
  REQUIRE(time.curve.points.size() == 3);
  CHECK(time.curve.points[0].size == 1024);
  CHECK(time.curve.points[0].figure.time.value == Approx(25e-6));
  CHECK(time.curve.points[0].figure.spread == Approx(0.2));  // 20 us out of place
  CHECK(time.curve.points[2].figure.time.value == Approx(1e-3));
  // The others out of place.
  CHECK(profile.collectives[1].kind == CollectiveKind::AllGather);
  CHECK(profile.collectives[1].curve.points[0].figure.time.value == Approx(20e-6));
  REQUIRE(profile.messages.size() == 1);
  CHECK(profile.messages[0].nodes == 2);
  // What is written is read again.
  const std::string written = folder.path / "profile.yaml";
  write_text(written, to_yaml(profile));
  CHECK(to_yaml(load_profile(written)) == to_yaml(profile));
}

TEST_CASE("nccl-tests: what is no such output") {
  CHECK(problem_of("all_reduce_perf.txt", kRanks) ==
        "all_reduce_perf.txt: error: this is no output of nccl-tests: it has no rows of sizes and "
        "times");
  CHECK(problem_of("all_reduce_perf.txt", kRows) ==
        "all_reduce_perf.txt: error: this is no output of nccl-tests: it names fewer than two "
        "ranks");
  CHECK(problem_of("a.txt", kRanks + kRows) ==
        "a.txt: error: this is no output of nccl-tests: neither its text nor its name says which "
        "program printed it ('all_reduce_perf', say)");
  CHECK(problem_of("all_reduce_perf.txt",
                   kRanks + "1024 256 float sum -1 x 0.05 0.08 0 25.00 0.04 0.06 0\n") ==
        "all_reduce_perf.txt:12:23: error: 'x': expected a number\n"
        "    1024 256 float sum -1 x 0.05 0.08 0 25.00 0.04 0.06 0\n"
        "                          ^");
  CHECK(problem_of("all_reduce_perf.txt",
                   kRanks + "1024 256 float sum -1 0 0.05 0.08 0 25.00 0.04 0.06 0\n")
            .find("'0': takes no time") != std::string::npos);
  CHECK(problem_of("all_reduce_perf.txt", kRanks + kRows + kRows)
            .find("'1024': the sizes of a run must increase") != std::string::npos);
}

TEST_CASE("nccl-tests: the same twice, and no file") {
  const TemporaryFolder folder("nccl_tests");
  const std::string path = folder.path / "all_reduce_perf.txt";
  write_text(path, kRanks + kRows);
  CHECK_THROWS_WITH(load_nccl_tests({path, path}),
                    path + ": error: a file before this one measured the same");
  CHECK_THROWS_WITH(load_nccl_tests({path + ".no"}), path + ".no: error: cannot read the file");
}

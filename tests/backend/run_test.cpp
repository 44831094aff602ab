// The program that people run: real processes on this host's loopback.
#include "backend/catch.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "backend/program.hpp"
#include "backend/sample_images.hpp"
#include "config/load.hpp"
#include "folder.hpp"
#include "interchange/chakra.hpp"

namespace windtunnel {
namespace {

const std::string kSource = WINDTUNNEL_SOURCE_DIR;
const std::string kBackend = WINDTUNNEL_BACKEND_PROGRAM;

// Of the steps that every run takes, three to warm up and nine at least. How many more a run takes
// depends on the machine, and rounding grows with them.
constexpr std::size_t kLeastLosses = 12;

nlohmann::json measured(const std::string& overrides, const TemporaryFolder& folder,
                        const std::string& job = "tiny-gpt.yaml") {
  const std::string out = (folder.path / "out").string();
  const End end = end_of(kBackend + " run " + kSource + "/tests/data/backend/" + job + " --out " +
                             out + " " + overrides,
                         folder);
  INFO(end.errors);
  REQUIRE(end.code == 0);
  for (const char* name : {"report.json", "report.html", "trace.json", "ranks.csv"})
    CHECK(std::filesystem::exists(folder.path / "out" / name));
  return nlohmann::json::parse(text_of(folder.path / "out" / "measured.json"));
}

}  // namespace

TEST_CASE("processes on loopback learn what one process learns", "[gloo]") {
  const TemporaryFolder folder("run");
  const nlohmann::json one = measured("--set gpus=1", folder);
  const auto expected = one.at("losses").get<std::vector<double>>();
  REQUIRE(expected.size() >= kLeastLosses);
  // Random tokens, new ones each step: an untrained model knows no more than that there are 64.
  CHECK(expected.front() == Approx(std::log(64.0)).margin(0.05));
  CHECK(expected[1] != expected[0]);
  for (const std::string strategy :
       {"--ranks 2 --set 'parallel={data: 2}'",
        "--ranks 2 --set 'parallel={tensor: 2, sequence_parallel: true}'",
        "--ranks 4 --set 'parallel={data: 2, pipeline: 2}' --set schedule=1f1b",
        "--ranks 4 --set 'parallel={context: 4}' --set attention=flash",
        "--ranks 2 --set 'parallel={context: 2, context_parallel: ulysses}' --set attention=flash",
        "--ranks 4 --set 'parallel={data: 4, zero_stage: 3}'"}) {
    INFO(strategy);
    const nlohmann::json run = measured(strategy, folder);
    const auto losses = run.at("losses").get<std::vector<double>>();
    for (std::size_t i = 0; i < kLeastLosses; ++i)
      CHECK(losses[i] == Approx(expected[i]).margin(1e-4));
  }
}

TEST_CASE("processes that hold different experts learn what one process learns", "[gloo]") {
  const TemporaryFolder folder("run");
  const auto losses = [&](const std::string& strategy) {
    INFO(strategy);
    const auto all = measured(strategy, folder, "tiny-mixtral.yaml").at("losses");
    return all.get<std::vector<double>>();
  };
  const std::vector<double> expected = losses("--set gpus=1");
  for (const std::string strategy :
       {"--ranks 2 --set 'parallel={data: 2, expert: 2}'",
        "--ranks 4 --set 'parallel={tensor: 2, context: 2, sequence_parallel: true, expert: 2}'"}) {
    const std::vector<double> shared = losses(strategy);
    for (std::size_t i = 0; i < kLeastLosses; ++i)
      CHECK(shared[i] == Approx(expected[i]).margin(1e-4));
  }
}

TEST_CASE("emulated layers communicate in the groups of the plan", "[gloo]") {
  const TemporaryFolder folder("run");
  measured(
      "--ranks 4 --set compute=emulated --set 'parallel={tensor: 2, context: 2, "
      "sequence_parallel: true, expert: 2, context_parallel: ulysses}'",
      folder, "tiny-mixtral.yaml");
}

TEST_CASE("processes train on the images of a folder, and what is wrong with it is said before",
          "[gloo]") {
  const TemporaryFolder folder("run");
  const std::string path = folder.path.string(), set_path = " --set data.path=" + path;
  const std::string run = kBackend + " run " + kSource + "/tests/data/backend/tiny-resnet.yaml";
  const std::string images = "/train-images-idx3-ubyte: error: no such file\n";
  const End absent = end_of(run + " --ranks 2 --set 'parallel={data: 2}'", folder);
  CHECK(absent.code == 2);
  CHECK(absent.errors == kSource + "/tests/data/backend/no-such-folder" + images);
  const End empty = end_of(run + set_path, folder);
  CHECK(empty.code == 2);
  CHECK(empty.errors == path + images);
  write_mnist(folder.path, 20);
  const auto one = measured(set_path, folder, "tiny-resnet.yaml");
  const auto two =
      measured("--ranks 2 --set 'parallel={data: 2}'" + set_path, folder, "tiny-resnet.yaml");
  const auto expected = one.at("losses").get<std::vector<double>>();
  const auto losses = two.at("losses").get<std::vector<double>>();
  REQUIRE(std::min(losses.size(), expected.size()) >= kLeastLosses);
  for (std::size_t i = 0; i < kLeastLosses; ++i)
    CHECK(losses[i] == Approx(expected[i]).margin(1e-4));
}

TEST_CASE("spans of a measured step start and end inside it, one for each op", "[gloo]") {
  const TemporaryFolder folder("run");
  const nlohmann::json run =
      measured("--ranks 2 --set 'parallel={pipeline: 2}' --set schedule=gpipe", folder);
  REQUIRE(run.at("spans").size() == 2);
  for (const auto& rank : run.at("spans")) {
    CHECK(rank.size() > 16);
    for (const auto& span : rank) {
      CHECK(span[1].get<double>() >= 0);
      CHECK(span[2].get<double>() >= span[1].get<double>());
    }
  }
}

namespace {

std::vector<pid_t> children_of(pid_t process) {
  const std::string id = std::to_string(process);
  std::istringstream list(text_of("/proc/" + id + "/task/" + id + "/children"));
  return {std::istream_iterator<pid_t>(list), {}};
}

// Starts the program with its output in files of the folder.
pid_t started(std::vector<std::string> words, const TemporaryFolder& folder) {
  std::fflush(nullptr);
  const pid_t process = fork();
  if (process != 0) return process;
  std::freopen((folder.path / "stdout").c_str(), "w", stdout);
  std::freopen((folder.path / "stderr").c_str(), "w", stderr);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(arguments.front(), arguments.data());
  _exit(127);
}

}  // namespace

TEST_CASE("a killed rank ends the run, by name, and leaves no process behind", "[gloo]") {
  const TemporaryFolder folder("run");
  const std::string out = (folder.path / "out").string();
  // Its ops take 20 s: nobody ends before the kill.
  const pid_t supervisor = started(
      {kBackend, "run", kSource + "/tests/data/backend/slow-emulated.yaml", "--out", out}, folder);
  std::vector<pid_t> ranks;
  for (int i = 0; i < 600 && ranks.size() < 4; ++i) {
    usleep(100'000);
    ranks = children_of(supervisor);
  }
  REQUIRE(ranks.size() == 4);
  kill(ranks[2], SIGKILL);
  int status = 0;
  REQUIRE(waitpid(supervisor, &status, 0) == supervisor);
  CHECK(WEXITSTATUS(status) == 1);
  const std::string errors = text_of(folder.path / "stderr");
  INFO(errors);
  CHECK(errors.find("rank 2 was killed by signal 9") != std::string::npos);
  for (const pid_t rank : ranks) CHECK(kill(rank, 0) != 0);
  CHECK(!std::filesystem::exists(out));
}

TEST_CASE("what cannot be run is refused before any process starts") {
  const TemporaryFolder folder("run");
  const std::string job = kSource + "/workloads/interleaved-teaching.yaml";
  const End end = end_of(kBackend + " run " + job, folder);
  CHECK(end.code == 2);
  CHECK(end.errors.find("error: ") != std::string::npos);
  CHECK(end_of(kBackend + " run", folder).code == 2);
  const Job recorded = load_job(kSource + "/workloads/interleaved-teaching.yaml");
  REQUIRE(write_chakra(build_plan(recorded), build_cluster(recorded.cluster, recorded.gpus),
                       (folder.path / "step").string()) == "");
  const std::string of_recorded = (folder.path / "recorded.yaml").string();
  write_text(of_recorded, "chakra: step\ncluster: " + kSource +
                              "/topologies/clusters/cpu-cluster.yaml\ngpus: 4\n");
  const End refused = end_of(kBackend + " run " + of_recorded, folder);
  CHECK(refused.code == 2);
  CHECK(refused.errors == of_recorded +
                              ": error: a recorded step has times but no tensors: it can be "
                              "simulated, not run\n");
  const std::string sharded = kSource + "/workloads/two-cores/gpt-zero3.yaml";
  const End copies =
      end_of(kBackend + " run " + sharded + " --set parallel.fsdp.version=1", folder);
  CHECK(copies.code == 2);
  CHECK(copies.errors == sharded +
                             ": error: the backend's tensors lie in the buffers that it sends: "
                             "parallel.fsdp.version counts copies that it does not make\n");
  CHECK(end_of(kBackend + " run no-such-file.yaml", folder).code == 2);
  const std::string mixtral = kSource + "/tests/data/backend/tiny-mixtral.yaml";
  for (const auto& [overrides, why] :
       {std::pair("'parallel={data: 2, expert: 2, overlap_experts: true}' --set gpus=2 "
                  "--set batch.micro=1",
                  "parallel.overlap_experts is simulated only"),
        std::pair("'parallel={data: 2, expert: 2, expert_dispatch: two_level}' --set gpus=2",
                  "parallel.expert_dispatch: two_level is simulated only"),
        std::pair("recompute=per_op",
                  "the backend recomputes whole blocks or attention, not per_op"),
        std::pair("model.router_groups=2 --set model.router_groups_per_token=1",
                  "router_groups is simulated only: the backend's router chooses among all "
                  "experts"),
        std::pair("'parallel={tensor: 2, sequence_parallel: true}' --set gpus=2 --set "
                  "software=dtensor",
                  "the backend splits the first dimension of a sequence (sequence parallelism): it "
                  "makes no copies as software with the batch first does"),
        std::pair("model.expert_bias=true", "expert_bias is simulated only"),
        std::pair("model.clamped_experts=true", "clamped_experts is simulated only"),
        std::pair("model.scaled_rotary=true", "scaled_rotary is simulated only"),
        std::pair("recompute=[core_attn]",
                  "the backend recomputes whole blocks or attention, not core_attn"),
        std::pair("batch.attended_length=24 --set attention=flash",
                  "an attended_length above the sequence is simulated only: micro-batches of "
                  "samples that differ in length would differ in size, which a plan's do not"),
        std::pair("batch.attended_length=15 --set attention=flash",
                  "no samples fill 16 tokens so that one attends to 15 (attended_length)"),
        std::pair("batch.attended_length=4 --set attention=flash --set 'parallel={context: 2}' "
                  "--set gpus=2",
                  "samples that share a sequence (attended_length) are shared by ranks with "
                  "context_parallel: ulysses alone")}) {
    const End end_of_it = end_of(kBackend + " run " + mixtral + " --set " + overrides, folder);
    CHECK(end_of_it.code == 2);
    CHECK(end_of_it.errors == mixtral + ": error: " + why + "\n");
  }
}

}  // namespace windtunnel

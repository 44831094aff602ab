// A job written as Chakra execution traces and read again: the same step; and traces that are no
// step are refused.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "catch.hpp"
#include "config/config_error.hpp"
#include "engine/simulate.hpp"
#include "folder.hpp"
#include "interchange/chakra.hpp"
#include "strategies.hpp"

namespace windtunnel {

namespace {

namespace fs = std::filesystem;

double step_time(const Job& job, Fidelity fidelity = Fidelity::Folded) {
  Conditions conditions = conditions_of(job);
  conditions.fidelity = fidelity;
  return simulate(build_plan(job), build_cluster(job.cluster, job.gpus), conditions).end.value;
}

std::string written(const Job& job, const fs::path& prefix) {
  return write_chakra(build_plan(job), build_cluster(job.cluster, job.gpus), prefix.string());
}

Job read_again(const fs::path& prefix, const Condition& condition,
               const std::string& communication) {
  return load_job_text("chakra: " + prefix.string() + "\n" + cluster_yaml(condition, communication),
                       WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml");
}

// A trace says nothing of the host that issues kernels.
std::vector<Setting> traceable_strategies() {
  std::vector<Setting> strategies = kStrategies;
  std::erase_if(strategies, [](const Setting& strategy) {
    return strategy.yaml.find("host:") != std::string::npos;
  });
  return strategies;
}

void check_round_trips(const std::string& communication) {
  const TemporaryFolder folder("chakra");
  for (const Setting& strategy : traceable_strategies())
    for (const Condition& condition : kConditions) {
      INFO(strategy.name << ", " << condition.name << ", " << communication);
      const Job job = job_of(strategy, condition, communication);
      REQUIRE(written(job, folder.path / "step") == "");
      const Job again = read_again(folder.path / "step", condition, communication);
      CHECK(step_time(again) == Approx(step_time(job)).epsilon(1e-9));
    }
}

}  // namespace

TEST_CASE("chakra: an exported job imported again takes the same time, ring") {
  check_round_trips(kAlphaBeta);
}

TEST_CASE("chakra: an exported job imported again takes the same time, NCCL's model") {
  check_round_trips(kNccl);
}

TEST_CASE("chakra: an imported step can be exported and imported again") {
  const TemporaryFolder folder("chakra");
  for (const Setting& strategy : traceable_strategies()) {
    INFO(strategy.name);
    const Job job = job_of(strategy, kConditions[0], kNccl);
    REQUIRE(written(job, folder.path / "first") == "");
    const Job again = read_again(folder.path / "first", kConditions[0], kNccl);
    REQUIRE(written(again, folder.path / "second") == "");
    const Job third = read_again(folder.path / "second", kConditions[0], kNccl);
    CHECK(step_time(third) == Approx(step_time(job)).epsilon(1e-9));
    std::size_t nodes = 0;
    for (std::size_t rank = 0; rank < 16; ++rank) {
      CHECK(third.recorded->programs[rank].ops.size() == again.recorded->programs[rank].ops.size());
      nodes += third.recorded->programs[rank].ops.size();
    }
    CHECK(nodes > 100);
  }
}

TEST_CASE("chakra: a recorded step takes no notice of rendezvous") {
  const std::string rendezvous =
      "{model: alpha_beta, algorithm: ring, point_to_point: rendezvous, receives_ahead: 0}";
  const TemporaryFolder folder("chakra");
  for (const Setting& strategy : traceable_strategies()) {
    INFO(strategy.name);
    REQUIRE(written(job_of(strategy, kConditions[0], kAlphaBeta), folder.path / "step") == "");
    const Job eager = read_again(folder.path / "step", kConditions[0], kAlphaBeta);
    const Job waiting = read_again(folder.path / "step", kConditions[0], rendezvous);
    CHECK(step_time(waiting) == Approx(step_time(eager)).epsilon(1e-9));
  }
}

TEST_CASE("chakra: no file crashes the reader, and what it takes runs") {
  const TemporaryFolder folder("chakra");
  const std::string prefix = (folder.path / "step").string();
  const std::string yaml = "chakra: " + prefix +
                           "\ncluster: " WINDTUNNEL_SOURCE_DIR
                           "/topologies/clusters/single-8xh100.yaml\ngpus: 2\n";
  const Job job = load_job_text(
      "model: {family: synthetic, layers: 2, forward: 1 ms, backward_input: 1 ms,\n"
      "        backward_weight: 1 ms, message: 1 kB, activation: 4 kB}\n"
      "cluster: " WINDTUNNEL_SOURCE_DIR
      "/topologies/clusters/single-8xh100.yaml\n"
      "gpus: 2\nparallel: {pipeline: 2}\nbatch: {global: 1, micro: 1}\nschedule: 1f1b\n",
      "small.yaml");
  REQUIRE(written(job, prefix) == "");
  const fs::path path = chakra_file(prefix, 0);
  const std::string good = text_of(path);
  REQUIRE(good.size() > 200);
  int refused = 0, taken = 0;
  const auto try_with = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      const Job read = load_job_text(yaml, "fuzz.yaml");
      simulate(build_plan(read), build_cluster(read.cluster, read.gpus),
               {.network = NetworkKind::ContentionFree});
      ++taken;
    } catch (const ConfigError& error) {
      CHECK(std::string(error.what()).starts_with(prefix));
      ++refused;
    }
  };
  for (std::size_t size = 0; size < good.size(); ++size) try_with(good.substr(0, size));
  for (std::size_t at = 0; at < good.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = good;
      changed[at] = char(changed[at] ^ (1 << bit));
      try_with(changed);
    }
  CHECK(refused > 1000);
  CHECK(taken > 100);
}

}  // namespace windtunnel

#include <string>
#include <vector>

#include "catch.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"

using namespace windtunnel;

namespace {

// Relative names start at the folder of the file's name.
const std::string kName = WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml";
const std::string kText = R"(model: models/gpt3-125m.yaml
cluster: ../topologies/clusters/selene.yaml
gpus: 8
parallel: {data: 8}
batch: {global: 8, micro: 1, sequence: 2048}
precision: bf16
stragglers: [{rank: 1, slowdown: 2}]
)";

Job job_with(const std::vector<std::string>& overrides) {
  return load_job_text(kText, kName, overrides);
}

std::string error_with(const std::vector<std::string>& overrides) {
  try {
    job_with(overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("an override replaces a value") {
  const Job job = job_with({"gpus=16", "parallel.data=16", "batch.global=64"});
  CHECK(job.gpus == 16);
  CHECK(job.parallel.data == 16);
  CHECK(job.batch.global == 64);
  CHECK(job.name == "test");
}

TEST_CASE("an override makes keys that are missing") {
  CHECK(job_with({"parallel.zero_stage=3", "parallel.shard=4"}).parallel.shard_ranks == 4);
  CHECK(job_with({"noise.seed=7", "noise.amplitude=2 %"}).noise->amplitude == 0.02);
}

TEST_CASE("an override may be a mapping or a list") {
  const Job job = job_with({"parallel={tensor: 4, data: 2}", "stragglers=[]"});
  CHECK(job.parallel.tensor == 4);
  CHECK(job.stragglers.empty());
}

TEST_CASE("an empty override takes a key away") {
  CHECK(job_with({"stragglers="}).stragglers.empty());
  CHECK(error_with({"precision="}).find("missing key 'precision'") != std::string::npos);
}

TEST_CASE("a number steps into a list") {
  CHECK(job_with({"stragglers.0.slowdown=3"}).stragglers[0].slowdown == 3);
  CHECK(error_with({"stragglers.1.slowdown=3"}) ==
        "--set stragglers.1.slowdown=3: error: '1' is not one of the 1 items of this list, "
        "counted from 0");
}

TEST_CASE("the last of two overrides counts") {
  CHECK(job_with({"batch.micro=2", "batch.micro=1"}).batch.micro == 1);
  CHECK(job_with({"parallel.data=2", "parallel={data: 8}"}).parallel.data == 8);
}

TEST_CASE("an override goes on into the file that a key names") {
  CHECK(job_with({"cluster.nodes.0.count=1"}).cluster.type_of_node.size() == 1);
  CHECK(
      job_with({"cluster.fabric.efficiency=0.5"}).cluster.fabric_parameters.number("efficiency") ==
      0.5);
  CHECK(job_with({"cluster.nodes.0.type.nics.count=4"}).cluster.node_types[0].nics == 4);
  CHECK(
      job_with({"cluster.nodes.0.type.gpu.memory=40 GB"}).cluster.node_types[0].gpu.memory.value ==
      40e9);
  // Also when the file is replaced before or after.
  const std::string eos = "cluster=" WINDTUNNEL_SOURCE_DIR "/topologies/clusters/eos.yaml";
  CHECK(job_with({eos, "cluster.nodes.0.count=2"}).cluster.type_of_node.size() == 2);
  CHECK(job_with({"cluster.nodes.0.count=2", eos}).cluster.type_of_node.size() == 2);
  CHECK(job_with({"cluster.nodes.0.count=2", eos}).cluster.name == "NVIDIA Eos");
}

TEST_CASE("errors of overrides name the option") {
  const std::pair<std::vector<std::string>, std::string> rows[] = {
      {{"parallel.tensr=4"},
       "--set parallel.tensr=4: error: parallel: unknown key 'tensr' (did you mean 'tensor'?)"},
      {{"parallel.tensor=four"},
       "--set parallel.tensor=four: error: parallel.tensor: expected a positive integer, got "
       "'four'"},
      {{"precision.kind=1"}, "--set precision.kind=1: error: precision: 'bf16' has no keys"},
      {{"schedule=gpipe", "schedule.kind=1f1b"},
       "--set schedule.kind=1f1b: error: schedule: 'gpipe' has no keys"},
      {{"gpus.count=8"}, "--set gpus.count=8: error: gpus: '8' has no keys"},
      {{"cluster.fabric.speed=1"},
       "--set cluster.fabric.speed=1: error: fabric: unknown key 'speed'"},
      {{"cluster=none.yaml"}, "--set cluster=none.yaml: error: cluster: no such file: none.yaml"},
      {{"gpus"}, "--set gpus: error: expected path=value, as in parallel.tensor=4"},
      {{"=4"}, "--set =4: error: expected path=value, as in parallel.tensor=4"},
      {{"a..b=4"}, "--set a..b=4: error: expected path=value, as in parallel.tensor=4"},
      {{"a b=4"}, "--set a b=4: error: expected path=value, as in parallel.tensor=4"},
      {{"gpus=[8"}, "--set gpus=[8: error: not valid YAML: end of sequence flow not found"},
      {{"gpus=*x"}, "--set gpus=*x: error: not valid YAML: the referenced anchor is not defined"},
      {{"gpus=9", "parallel.data=9"},
       "--set gpus=9: error: gpus: 9 GPUs do not fill whole nodes; 8 or 16 would"},
  };
  for (const auto& [overrides, message] : rows) {
    CAPTURE(overrides);
    const std::string error = error_with(overrides);
    CHECK(error == message);
  }
}

TEST_CASE("a path of any length is no danger") {
  std::string path = "a";
  for (int i = 0; i < 100000; ++i) path += ".a";
  CHECK(error_with({path + "=1"}) != "");
}

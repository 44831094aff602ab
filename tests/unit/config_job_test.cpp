#include <string>

#include "catch.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"

using namespace windtunnel;

namespace {

const std::string kName = WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml";

Job job_of(const std::string& text) {
  return load_job_text(text, kName);
}

const std::string kSmall = R"(
model: models/gpt3-125m.yaml
cluster: ../topologies/clusters/single-8xh100.yaml
gpus: 8
parallel: {data: 8}
batch: {global: 8, micro: 1, sequence: 2048}
precision: bf16
)";

}  // namespace

TEST_CASE("every key of a job arrives") {
  const Job job = job_of(R"(
model: models/gpt3-175b.yaml
cluster: ../topologies/clusters/aws-p4d.yaml
gpus: 256
parallel:
  data: 4
  tensor: 8
  pipeline: 8
  virtual_stages: 2
  sequence_parallel: true
  zero_stage: 3
  shard: 2
  fsdp: {reshard_after_forward: false, keep_last_layer: false, version: 2}
  order: [tensor, pipeline, data]
batch: {global: 64, micro: 2, sequence: 1024}
precision: {compute: fp16, gradients: fp32}
schedule: interleaved
recompute: selective
attention: flash
data_parallel: {first_bucket: 2 MiB, bucket: 10 MB, overlap: false, no_sync: true}
pipeline_transfer: blocking
optimizer: sgd
gradient_clipping: false
fidelity: stage
stragglers: [{rank: 5, slowdown: 1.2}, {rank: 255, slowdown: 2}]
noise: {seed: 3, amplitude: 2 %}
price: ../topologies/prices/aws-p4d-us-east-1.yaml
market: on_demand
total_tokens: 300e9
)");
  CHECK(job.name == "test");
  CHECK(job.model.name == "GPT-3 175B");
  CHECK(job.cluster.node_types[0].gpus == 8);
  CHECK(job.gpus == 256);
  CHECK(job.parallel.data == 4);
  CHECK(job.parallel.tensor == 8);
  CHECK(job.parallel.pipeline == 8);
  CHECK(job.parallel.virtual_stages == 2);
  CHECK(job.parallel.sequence_parallel);
  CHECK(job.parallel.zero_stage == 3);
  CHECK_FALSE(job.parallel.reshard_after_forward);
  CHECK_FALSE(job.parallel.keep_last_layer);
  CHECK(job.parallel.shard_ranks == 2);
  CHECK(job.parallel.fsdp_version == 2);
  CHECK(job.parallel.order == std::array{Dimension::Tensor, Dimension::Pipeline, Dimension::Data});
  CHECK(job.batch.global == 64);
  CHECK(job.batch.micro == 2);
  CHECK(job.batch.sequence == 1024);
  CHECK(job.micro_batches() == 8);
  CHECK(job.precision.compute == DType::Fp16);
  CHECK(job.precision.gradients == DType::Fp32);
  CHECK(job.schedule == "interleaved");
  // 96 blocks on 16 stages, the embedding with the first and the head with the last.
  CHECK(job.layers_per_stage == std::vector{7, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7});
  CHECK(job.recompute == Recompute::Selective);
  CHECK(job.attention == AttentionKernel::Flash);
  CHECK(job.data_parallel.first_bucket == Bytes(2097152));
  CHECK(job.data_parallel.bucket == Bytes(10e6));
  CHECK_FALSE(job.data_parallel.overlap);
  CHECK(job.data_parallel.no_sync);
  CHECK(job.pipeline_transfer == PipelineTransfer::Blocking);
  CHECK(job.optimizer == OptimizerKind::Sgd);
  CHECK_FALSE(job.gradient_clipping);
  CHECK(job.fidelity == Fidelity::Stage);
  REQUIRE(job.stragglers.size() == 2);
  CHECK(job.stragglers[0].rank == 5);
  CHECK(job.stragglers[0].slowdown == 1.2);
  CHECK(job.noise->seed == 3);
  CHECK(job.noise->amplitude == 0.02);
  CHECK(job.price->name == "aws-p4d-us-east-1");
  CHECK(job.market == Market::OnDemand);
  CHECK(job.total_tokens == 300e9);
}

TEST_CASE("what a job does not say") {
  const Job job = job_of(kSmall);
  CHECK(job.parallel.tensor == 1);
  CHECK(job.parallel.zero_stage == 0);
  CHECK(job.precision.gradients == DType::Bf16);  // as compute
  CHECK(job.layers_per_stage == std::vector{14});
  CHECK(job.data_parallel.first_bucket == Bytes(1048576));
  CHECK(job.data_parallel.bucket == Bytes(26214400));
  CHECK(job.data_parallel.no_sync);
  CHECK(job.optimizer == OptimizerKind::Adam);
  CHECK_FALSE(job.price);
}

TEST_CASE("a bucket size of the user counts for the first bucket too, as in PyTorch") {
  const Job job = job_of(kSmall + "data_parallel: {bucket: 50 MB}\n");
  CHECK(job.data_parallel.first_bucket == Bytes(50e6));
  CHECK(job.data_parallel.bucket == Bytes(50e6));
}

TEST_CASE("with ZeRO-2 and 3 gradients are reduced after every micro-batch") {
  for (const int stage : {0, 1, 2, 3}) {
    const Job job = load_job_text(kSmall, kName, {"parallel.zero_stage=" + std::to_string(stage)});
    CHECK(job.data_parallel.no_sync == (stage < 2));
  }
}

TEST_CASE("model, cluster, node and price may stand in the job") {
  const Job job = job_of(R"(
model:
  family: synthetic
  layers: 4
  forward: 1 ms
  backward_input: 1 ms
  backward_weight: [1 ms, 2 ms, 3 ms, 4 ms]
  message: 0 B
  activation: 1 MB
cluster:
  nodes:
    - count: 2
      type:
        gpu: ../topologies/gpus/h100-sxm5.yaml
        gpus: 2
        interconnect: {family: nvlink_switch, bandwidth: 100 GB/s, latency: 0 us, efficiency: 1}
        nics: {count: 1, bandwidth: 10 GB/s}
  fabric: {family: star, latency: 1 us, efficiency: 1}
gpus: 4
parallel: {pipeline: 4}
batch: {global: 8, micro: 1}
schedule: gpipe
price: {provider: p, region: r, instance: i, date: d, source: s, gpus_per_node: 2, spot: 1 USD/h}
market: spot
)");
  CHECK(job.model.layers.size() == 4);
  CHECK(job.cluster.type_of_node == std::vector{0, 0});
  CHECK(job.cluster.node_types[0].interconnect_parameters.number("bandwidth") == 100e9);
  CHECK(job.cluster.node_types[0].interconnect_parameters.number("efficiency") == 1);
  CHECK(job.cluster.communication.algorithm == "ring");
  CHECK(job.price->spot == UsdPerHour(1));
}

TEST_CASE("nodes of CPUs have one rank for each task") {
  const ClusterSpec cluster =
      load_cluster(WINDTUNNEL_SOURCE_DIR "/topologies/clusters/cpu-cluster.yaml");
  CHECK(cluster.node_types[0].gpus == 4);
  CHECK(cluster.type_of_node.size() == 16);
  CHECK(load_node(WINDTUNNEL_SOURCE_DIR "/topologies/nodes/cpu-node.yaml").gpus == 1);
}

TEST_CASE("errors in a file that a job names are reported there") {
  try {
    load_job_text(kSmall, kName,
                  {"cluster=" WINDTUNNEL_SOURCE_DIR "/tests/bad_yaml/cluster_slowdown.yaml"});
    FAIL("no error");
  } catch (const ConfigError& error) {
    CHECK(std::string(error.what())
              .starts_with(
                  WINDTUNNEL_SOURCE_DIR
                  "/tests/bad_yaml/cluster_slowdown.yaml:6:41: error: overrides[0].slowdown: "));
  }
}

TEST_CASE("the reference job") {
  const Job job = load_job(WINDTUNNEL_SOURCE_DIR "/workloads/gpt3-175b-selene.yaml");
  CHECK(job.name == "gpt3-175b-selene");
  CHECK(job.gpus == 1024);
  CHECK(job.micro_batches() == 96);
}

TEST_CASE("a data set is named relative to the job's file and opened by nobody here") {
  const auto data_of = [](const std::string& model, const std::string& data) {
    const Job job = job_of("model: " + model +
                           "\ncluster: ../topologies/clusters/cpu-cluster.yaml\ngpus: 1\n"
                           "batch: {global: 8, micro: 2}\nprecision: fp32\ndata: " +
                           data);
    REQUIRE(job.data);
    return std::pair(job.data->format, job.data->path);
  };
  CHECK(data_of("{name: a, source: b, family: mlp, inputs: 784, hidden: 8, layers: 1, outputs: 10}",
                "{format: mnist, path: no-such-folder/digits/}") ==
        std::pair(DataFormat::Mnist,
                  std::string(WINDTUNNEL_SOURCE_DIR "/workloads/no-such-folder/digits/")));
  CHECK(data_of("{name: a, source: b, family: vit, layers: 1, hidden: 8, heads: 1, patch: 8, "
                "image: 32, classes: 100}",
                "{format: cifar10, path: /pictures}") ==
        std::pair(DataFormat::Cifar10, std::string("/pictures")));
}

// Every strategy learns what one process learns: losses and parameters after three steps.
#include "backend/catch.hpp"

#include <fmt/format.h>

#include <cmath>
#include <tuple>

#include "backend/run_in_threads.hpp"
#include "backend/sample_images.hpp"
#include "folder.hpp"

namespace windtunnel {
namespace {

constexpr int kSteps = 3;
constexpr double kTolerance = 1e-4;

const std::string kCluster = R"(
cluster:
  name: test
  source: test
  nodes:
    - type:
        name: host
        source: test
        gpu: topologies/gpus/cpu-core.yaml
        cores: 8
        memory: 64 GB
        memory_bandwidth: 100 GB/s
        interconnect: {family: shared_memory, bandwidth: 1 GB/s, efficiency: 1.0, latency: 1 us}
        nics: {count: 1, bandwidth: 10 Gb/s}
      count: 1
      tasks_per_node: 8
      cpus_per_task: 1
  communication: {model: alpha_beta, algorithm: ring, source: test}
precision: fp32
gradient_clipping: true
)";

// Of a model of one shape and the batch that it learns from.
std::string job_text(const std::string& shape, const std::string& batch) {
  return kCluster + "model: {name: tiny, source: test, " + shape + "}\nbatch: {" + batch +
         "}\noptimizer: sgd\n";
}

const std::string kSequences = "global: 16, micro: 1, sequence: 16";
const std::string kGpt = job_text(
    "family: gpt, layers: 4, hidden: 32, heads: 4, vocab: 64, max_sequence: 16", kSequences);
const std::string kBloom = job_text(
    "family: gpt, layers: 2, hidden: 32, heads: 4, vocab: 64, max_sequence: 16, "
    "learned_positions: false, embedding_layernorm: true",
    kSequences);
const std::string kLlama = job_text(
    "family: llama, layers: 4, hidden: 32, heads: 8, kv_heads: 4, ffn: 64, vocab: 64", kSequences);

const std::string kMixtral = job_text(
    "family: llama, layers: 4, hidden: 32, heads: 8, kv_heads: 4, ffn: 64, vocab: 64, experts: 4, "
    "experts_per_token: 2, expert_ffn: 24, shared_expert_ffn: 16, dense_layers: 1",
    kSequences);

const std::string kQkNorm = job_text(
    "family: llama, layers: 4, hidden: 32, heads: 8, kv_heads: 4, ffn: 64, vocab: 64, "
    "qk_norm: true",
    kSequences);
const std::string kLora = job_text(
    "family: llama, layers: 4, hidden: 32, heads: 8, kv_heads: 4, ffn: 64, vocab: 64, "
    "lora_rank: 4, lora_qkv: true, lora_projection: true, lora_mlp_in: true, lora_mlp_out: true",
    kSequences);
const std::string kLatent = job_text(
    "family: llama, layers: 4, hidden: 32, heads: 8, head_size: 6, rope_size: 2, value_size: 3, "
    "kv_rank: 10, query_rank: 12, ffn: 64, vocab: 64",
    kSequences);
const std::string kDeepSeek = job_text(
    "family: llama, layers: 4, hidden: 32, heads: 8, head_size: 6, rope_size: 2, value_size: 3, "
    "kv_rank: 10, ffn: 64, vocab: 64, experts: 4, experts_per_token: 2, expert_ffn: 24, "
    "shared_expert_ffn: 16, router_bias: true, dense_layers: 1",
    kSequences);

// Micro-batches of two, since batch norm uses their statistics; 18 images, so that passes over them
// end within steps.
const std::string kImages = "global: 8, micro: 2";
const std::string kResNet =
    job_text("family: resnet, blocks: [1, 1], width: 4, image: 28, classes: 10", kImages);
const std::string kVit = job_text(
    "family: vit, layers: 2, hidden: 16, heads: 4, patch: 8, image: 32, classes: 10", kImages);

struct Case {
  std::string name;
  std::vector<std::string> overrides;
};

std::vector<std::string> joined(std::vector<std::string> first,
                                const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

void require_same(const Learned& got, const Learned& expected) {
  for (int step = 0; step < kSteps; ++step) {
    INFO("step " << step);
    CHECK(got.losses[std::size_t(step)] ==
          Approx(expected.losses[std::size_t(step)]).margin(kTolerance));
  }
  REQUIRE(got.tensors.size() >= expected.tensors.size());
  for (const auto& [name, sums] : expected.tensors) {
    INFO(name);
    REQUIRE(got.tensors.contains(name));
    const TensorSums& other = got.tensors.at(name);
    CHECK(other.squares == Approx(sums.squares).epsilon(kTolerance).margin(1e-6));
    CHECK(other.sum == Approx(sums.sum).margin(kTolerance * (1 + std::sqrt(sums.squares))));
  }
}

const std::vector<Case> kStrategies = {
    {"recompute full", {"gpus=1", "recompute=full"}},
    {"recompute selective", {"gpus=1", "recompute=selective"}},
    {"recompute one block", {"gpus=1", "recompute=full", "recompute_layers=1"}},
    {"recompute attention of one block", {"gpus=1", "recompute=selective", "recompute_layers=1"}},
    {"data 2", {"gpus=2", "parallel={data: 2}"}},
    {"data 2, small buckets, no overlap",
     {"gpus=2", "parallel={data: 2}", "data_parallel={bucket: 8 kB, overlap: false}"}},
    {"data 2, small buckets", {"gpus=2", "parallel={data: 2}", "data_parallel={bucket: 8 kB}"}},
    {"data 2, reduced after every micro-batch",
     {"gpus=2", "parallel={data: 2}", "data_parallel={no_sync: false}"}},
    {"data 4", {"gpus=4", "parallel={data: 4}"}},
    {"ZeRO-1", {"gpus=4", "parallel={data: 4, zero_stage: 1}"}},
    {"ZeRO-2", {"gpus=4", "parallel={data: 4, zero_stage: 2}"}},
    {"ZeRO-3", {"gpus=4", "parallel={data: 4, zero_stage: 3}"}},
    {"ZeRO-1, hybrid", {"gpus=4", "parallel={data: 4, zero_stage: 1, shard: 2}"}},
    {"ZeRO-2, hybrid", {"gpus=4", "parallel={data: 4, zero_stage: 2, shard: 2}"}},
    {"ZeRO-3, hybrid", {"gpus=4", "parallel={data: 4, zero_stage: 3, shard: 2}"}},
    {"ZeRO-3, weights stay gathered",
     {"gpus=2", "parallel={data: 2, zero_stage: 3, fsdp: {reshard_after_forward: false}}"}},
    {"ZeRO-3, recompute", {"gpus=2", "parallel={data: 2, zero_stage: 3}", "recompute=full"}},
    {"naive", {"gpus=2", "parallel={pipeline: 2}", "schedule=naive"}},
    {"GPipe", {"gpus=2", "parallel={pipeline: 2}", "schedule=gpipe"}},
    {"1F1B", {"gpus=4", "parallel={pipeline: 4}", "schedule=1f1b"}},
    {"1F1B, blocking transfers",
     {"gpus=2", "parallel={pipeline: 2}", "schedule=1f1b", "pipeline_transfer=blocking"}},
    {"interleaved",
     {"gpus=2", "parallel={pipeline: 2, virtual_stages: 2}", "schedule=interleaved"}},
    {"ZB-H1", {"gpus=2", "parallel={pipeline: 2}", "schedule=zb-h1"}},
    {"ZB-V", {"gpus=2", "parallel={pipeline: 2, virtual_stages: 2}", "schedule=zb-v"}},
    {"tensor 2", {"gpus=2", "parallel={tensor: 2}"}},
    {"tensor 4", {"gpus=4", "parallel={tensor: 4}"}},
    {"tensor 2, sequence parallel", {"gpus=2", "parallel={tensor: 2, sequence_parallel: true}"}},
    {"data 2 x pipeline 2", {"gpus=4", "parallel={data: 2, pipeline: 2}", "schedule=1f1b"}},
    {"data 2 x tensor 2", {"gpus=4", "parallel={data: 2, tensor: 2}"}},
    {"tensor 2 x pipeline 2, sequence parallel",
     {"gpus=4", "parallel={tensor: 2, pipeline: 2, sequence_parallel: true}", "schedule=1f1b"}},
    {"ZeRO-1 x tensor 2, sequence parallel",
     {"gpus=4", "parallel={data: 2, tensor: 2, sequence_parallel: true, zero_stage: 1}"}},
    {"ZeRO-3 x tensor 2, sequence parallel",
     {"gpus=4", "parallel={data: 2, tensor: 2, sequence_parallel: true, zero_stage: 3}"}},
    {"ZeRO-1 x pipeline 2",
     {"gpus=4", "parallel={data: 2, pipeline: 2, zero_stage: 1}", "schedule=1f1b"}},
    {"ZeRO-1 x pipeline 2, reduced after every micro-batch",
     {"gpus=4", "parallel={data: 2, pipeline: 2, zero_stage: 1}", "schedule=gpipe",
      "data_parallel={no_sync: false, bucket: 8 kB, overlap: false}"}},
    {"ZeRO-2 x pipeline 2",
     {"gpus=4", "parallel={data: 2, pipeline: 2, zero_stage: 2}", "schedule=1f1b"}},
    {"ZeRO-3 x pipeline 2",
     {"gpus=4", "parallel={data: 2, pipeline: 2, zero_stage: 3}", "schedule=1f1b"}},
    {"ZeRO-3, hybrid, x pipeline 2",
     {"gpus=8", "parallel={data: 4, pipeline: 2, zero_stage: 3, shard: 2}", "schedule=1f1b"}},
    {"ZeRO-2 x tensor 2 x pipeline 2, sequence parallel",
     {"gpus=8",
      "parallel={data: 2, tensor: 2, pipeline: 2, sequence_parallel: true, zero_stage: 2}",
      "schedule=1f1b"}},
    {"ZeRO-1 without data parallelism x pipeline 2",
     {"gpus=2", "parallel={pipeline: 2, zero_stage: 1}", "schedule=1f1b"}},
    {"ZB-H1 x data 2", {"gpus=4", "parallel={data: 2, pipeline: 2}", "schedule=zb-h1"}},
};

// Of blocks that only some models have: each dimension, and what crosses with it.
const std::vector<Case> kLayouts = {
    {"recompute full", {"gpus=1", "recompute=full"}},
    {"data 2, small buckets", {"gpus=2", "parallel={data: 2}", "data_parallel={bucket: 8 kB}"}},
    {"ZeRO-1", {"gpus=4", "parallel={data: 4, zero_stage: 1}"}},
    {"ZeRO-3", {"gpus=4", "parallel={data: 4, zero_stage: 3}"}},
    {"ZeRO-3, hybrid", {"gpus=4", "parallel={data: 4, zero_stage: 3, shard: 2}"}},
    {"1F1B x data 2", {"gpus=4", "parallel={data: 2, pipeline: 2}", "schedule=1f1b"}},
    {"ZB-H1", {"gpus=2", "parallel={pipeline: 2}", "schedule=zb-h1"}},
    {"the embedding on a stage of its own",
     {"gpus=2", "parallel={pipeline: 2, layers_per_stage: [1, 5]}", "schedule=gpipe"}},
    {"ZeRO-3 x pipeline 2",
     {"gpus=4", "parallel={data: 2, pipeline: 2, zero_stage: 3}", "schedule=1f1b"}},
    {"tensor 2, sequence parallel", {"gpus=2", "parallel={tensor: 2, sequence_parallel: true}"}},
    {"tensor 4, sequence parallel, recompute full",
     {"gpus=4", "parallel={tensor: 4, sequence_parallel: true}", "recompute=full"}},
    {"tensor 2 x pipeline 2, sequence parallel, ZB-H1",
     {"gpus=4", "parallel={tensor: 2, pipeline: 2, sequence_parallel: true}", "schedule=zb-h1"}},
    {"ZeRO-1 x tensor 2, sequence parallel",
     {"gpus=4", "parallel={data: 2, tensor: 2, sequence_parallel: true, zero_stage: 1}"}},
    {"ZeRO-3 x tensor 2, sequence parallel",
     {"gpus=4", "parallel={data: 2, tensor: 2, sequence_parallel: true, zero_stage: 3}"}},
};
// Of the same blocks without sequence parallelism, which experts need.
const std::vector<Case> kWholeSequences = {
    {"tensor 2", {"gpus=2", "parallel={tensor: 2}"}},
    {"tensor 4", {"gpus=4", "parallel={tensor: 4}"}},
    {"tensor 2 x data 2, ZeRO-2", {"gpus=4", "parallel={data: 2, tensor: 2, zero_stage: 2}"}},
    {"tensor 2 x pipeline 2, ZB-H1",
     {"gpus=4", "parallel={tensor: 2, pipeline: 2}", "schedule=zb-h1"}},
};

// Of samples that ranks share, KIND saying how: their 16 tokens are 4 chunks of 4, or 8 of 2.
const std::vector<Case> kSharedSamples = {
    {"context 2", {"gpus=2", "parallel={context: 2, KIND}"}},
    {"context 4", {"gpus=4", "parallel={context: 4, KIND}"}},
    {"context 2, recompute full", {"gpus=2", "parallel={context: 2, KIND}", "recompute=full"}},
    {"context 2, small buckets",
     {"gpus=2", "parallel={context: 2, KIND}", "data_parallel={bucket: 8 kB}"}},
    {"context 2 x data 2", {"gpus=4", "parallel={context: 2, data: 2, KIND}"}},
    {"context 2 x tensor 2", {"gpus=4", "parallel={context: 2, tensor: 2, KIND}"}},
    {"context 2 x tensor 2, sequence parallel",
     {"gpus=4", "parallel={context: 2, tensor: 2, sequence_parallel: true, KIND}"}},
    {"context 2 x pipeline 2",
     {"gpus=4", "parallel={context: 2, pipeline: 2, KIND}", "schedule=1f1b"}},
    {"context 2, the embedding on a stage of its own",
     {"gpus=4", "parallel={context: 2, pipeline: 2, layers_per_stage: [1, 5], KIND}",
      "schedule=gpipe"}},
    {"context 2 x pipeline 2, ZB-H1",
     {"gpus=4", "parallel={context: 2, pipeline: 2, KIND}", "schedule=zb-h1"}},
    {"context 2, ZeRO-1", {"gpus=2", "parallel={context: 2, zero_stage: 1, KIND}"}},
    {"context 2 x data 2, ZeRO-2",
     {"gpus=4", "parallel={context: 2, data: 2, zero_stage: 2, KIND}"}},
    {"context 2 x data 2, ZeRO-3",
     {"gpus=4", "parallel={context: 2, data: 2, zero_stage: 3, KIND}"}},
    {"context 2 x tensor 2 x pipeline 2, ZeRO-1",
     {"gpus=8",
      "parallel={context: 2, tensor: 2, pipeline: 2, sequence_parallel: true, zero_stage: 1, KIND}",
      "schedule=1f1b"}},
};

void check_shared_samples(const std::string& yaml, const std::vector<Case>& cases,
                          const std::vector<std::string>& common = {}) {
  const std::string kind = GENERATE("ring", "all_gather", "ulysses");
  const std::vector<std::string> flash = joined({"attention=flash"}, common);
  const Learned one = ThreadedJob(yaml, joined({"gpus=1"}, flash)).learned(kSteps);
  for (Case strategy : cases) {
    std::string& parallel = strategy.overrides[1];
    parallel.replace(parallel.find("KIND"), 4, "context_parallel: " + kind);
    DYNAMIC_SECTION(kind << ", " << strategy.name) {
      require_same(ThreadedJob(yaml, joined(strategy.overrides, flash)).learned(kSteps), one);
    }
  }
}

const std::vector<Case> kExperts = {
    {"recompute full", {"gpus=1", "recompute=full"}},
    {"data 2", {"gpus=2", "parallel={data: 2}"}},
    {"ZeRO-3", {"gpus=2", "parallel={data: 2, zero_stage: 3}"}},
    {"expert 2", {"gpus=2", "parallel={data: 2, expert: 2}"}},
    {"expert 4", {"gpus=4", "parallel={data: 4, expert: 4}"}},
    {"expert 2 of data 4", {"gpus=4", "parallel={data: 4, expert: 2}"}},
    {"expert 2 of data 4, small buckets",
     {"gpus=4", "parallel={data: 4, expert: 2}", "data_parallel={bucket: 8 kB}"}},
    {"expert 2 of data 4, reduced after every micro-batch, no overlap",
     {"gpus=4", "parallel={data: 4, expert: 2}", "data_parallel={no_sync: false, overlap: false}"}},
    {"expert 2, recompute full", {"gpus=2", "parallel={data: 2, expert: 2}", "recompute=full"}},
    {"expert tensor 2 of data 2", {"gpus=2", "parallel={data: 2, expert_tensor: 2}"}},
    {"expert 2 x expert tensor 2 of data 4",
     {"gpus=4", "parallel={data: 4, expert: 2, expert_tensor: 2}"}},
    {"expert 2 x pipeline 2",
     {"gpus=4", "parallel={data: 2, expert: 2, pipeline: 2}", "schedule=1f1b"}},
    {"expert 2 x pipeline 2, ZB-H1",
     {"gpus=4", "parallel={data: 2, expert: 2, pipeline: 2}", "schedule=zb-h1"}},
    {"tensor 2", {"gpus=2", "parallel={tensor: 2, sequence_parallel: true}"}},
    {"tensor 2, expert 2",
     {"gpus=2", "parallel={tensor: 2, sequence_parallel: true, expert: 2, expert_tensor: 1}"}},
    {"tensor 2, whole experts",
     {"gpus=2", "parallel={tensor: 2, sequence_parallel: true, expert_tensor: 1}"}},
    {"tensor 2 x data 2, expert 2",
     {"gpus=4", "parallel={tensor: 2, data: 2, sequence_parallel: true, expert: 2}"}},
    {"tensor 2 x data 2, expert 4",
     {"gpus=4",
      "parallel={tensor: 2, data: 2, sequence_parallel: true, expert: 4, expert_tensor: 1}"}},
    {"context 2, expert 2", {"gpus=2", "parallel={context: 2, expert: 2}"}},
    {"context 2 x data 2, expert 4, Ulysses",
     {"gpus=4", "parallel={context: 2, data: 2, expert: 4, context_parallel: ulysses}"}},
    {"expert 2, ZeRO-1", {"gpus=2", "parallel={data: 2, expert: 2, zero_stage: 1}"}},
    {"expert 2 of data 4, ZeRO-1", {"gpus=4", "parallel={data: 4, expert: 2, zero_stage: 1}"}},
    {"expert 2 of data 4, ZeRO-2", {"gpus=4", "parallel={data: 4, expert: 2, zero_stage: 2}"}},
    {"tensor 2 x context 2, expert 2, ZeRO-1",
     {"gpus=4",
      "parallel={tensor: 2, context: 2, sequence_parallel: true, expert: 2, expert_tensor: 1, "
      "zero_stage: 1}"}},
    {"tensor 2 x data 2 x pipeline 2, expert 2, ZeRO-1",
     {"gpus=8",
      "parallel={tensor: 2, data: 2, pipeline: 2, sequence_parallel: true, expert: 2, "
      "zero_stage: 1}",
      "schedule=1f1b"}},
};

void check(const std::string& yaml, const std::vector<Case>& cases,
           const std::vector<std::string>& common) {
  const Learned one = ThreadedJob(yaml, joined({"gpus=1"}, common)).learned(kSteps);
  for (const Case& strategy : cases) {
    DYNAMIC_SECTION(strategy.name) {
      require_same(ThreadedJob(yaml, joined(strategy.overrides, common)).learned(kSteps), one);
    }
  }
}

void check_all(const std::string& yaml, const std::vector<std::string>& common) {
  check(yaml, kStrategies, common);
}

// Adam moves every tensor far enough in three steps that a wrong one shows.
const std::vector<std::string> kAdam = {"optimizer=adam"};

}  // namespace

TEST_CASE("GPT learns the same under every strategy", "[correctness]") {
  check_all(kGpt, {});
}

TEST_CASE("Llama learns the same under every strategy", "[correctness]") {
  check_all(kLlama, {});
}

TEST_CASE("ranks that share samples learn what one process learns", "[correctness]") {
  check_shared_samples(kLlama, kSharedSamples);
}

TEST_CASE("shared samples keep their positions, learned or as biases", "[correctness]") {
  const std::vector<Case> cases = {
      {"context 2", {"gpus=2", "parallel={context: 2, KIND}"}},
      {"context 2 x tensor 2, sequence parallel",
       {"gpus=4", "parallel={context: 2, tensor: 2, sequence_parallel: true, KIND}"}}};
  check_shared_samples(GENERATE(kGpt, kBloom), cases);
}

TEST_CASE("experts learn the same wherever they are", "[correctness]") {
  check(kMixtral, kExperts, {"attention=flash"});
}

// A capacity is of the tokens that a rank has at once: of a micro-batch, while no other rank shares
// it.
TEST_CASE("experts of a capacity learn the same wherever they are", "[correctness]") {
  const std::string shape =
      "family: llama, layers: 4, hidden: 32, heads: 8, ffn: 64, vocab: 64, experts: 4, "
      "experts_per_token: 2";
  const std::string capped = job_text(shape + ", capacity_factor: 0.75", kSequences);
  const Learned one = ThreadedJob(capped, {"gpus=1"}).learned(kSteps);
  const Learned dropless = ThreadedJob(job_text(shape, kSequences), {"gpus=1"}).learned(kSteps);
  CHECK(std::abs(one.losses[2] - dropless.losses[2]) > kTolerance);
  for (const Case& strategy : std::vector<Case>{
           {"expert 2", {"gpus=2", "parallel={data: 2, expert: 2}"}},
           {"expert 2 x expert tensor 2 of data 4",
            {"gpus=4", "parallel={data: 4, expert: 2, expert_tensor: 2}"}},
           {"expert 2 x pipeline 2, ZB-H1",
            {"gpus=4", "parallel={data: 2, expert: 2, pipeline: 2}", "schedule=zb-h1"}}}) {
    DYNAMIC_SECTION(strategy.name) {
      require_same(ThreadedJob(capped, strategy.overrides).learned(kSteps), one);
    }
  }
}

TEST_CASE("norms of queries and keys learn the same in every layout", "[correctness]") {
  check(kQkNorm, kLayouts, kAdam);
  check(kQkNorm, kWholeSequences, kAdam);
}

TEST_CASE("adapters learn the same in every layout", "[correctness]") {
  check(kLora, kLayouts, kAdam);
  check(kLora, kWholeSequences, kAdam);
}

TEST_CASE("only adapters learn", "[correctness]") {
  ThreadedJob zero(kLora, joined({"gpus=2", "parallel={data: 2, zero_stage: 3}"}, kAdam));
  ThreadedJob tensor(kLora, joined({"gpus=2", "parallel={tensor: 2}"}, kAdam));
  for (ThreadedJob* job : {&zero, &tensor}) {
    const Learned before = job->learned(0), after = job->learned(kSteps);
    for (const auto& [name, sums] : before.tensors) {
      INFO(name);
      const bool is_adapter = name.find(".adapter_") != std::string::npos;
      CHECK((after.tensors.at(name).squares != sums.squares) == is_adapter);
    }
  }
}

TEST_CASE("latent attention learns the same in every layout", "[correctness]") {
  check(kLatent, kLayouts, kAdam);
  check(kLatent, kWholeSequences, kAdam);
}

TEST_CASE("latent attention and adapters of shared samples learn what one process learns",
          "[correctness]") {
  check_shared_samples(
      GENERATE(kLatent, kLora, kQkNorm),
      {{"context 2", {"gpus=2", "parallel={context: 2, KIND}"}},
       {"context 2 x tensor 2, sequence parallel",
        {"gpus=4", "parallel={context: 2, tensor: 2, sequence_parallel: true, KIND}"}}},
      kAdam);
}

TEST_CASE("a bias of the router learns the same in every layout", "[correctness]") {
  check(kDeepSeek, kLayouts, kAdam);
  check(kDeepSeek,
        {{"expert 2 of data 4", {"gpus=4", "parallel={data: 4, expert: 2}"}},
         {"tensor 2 x data 2, expert 4",
          {"gpus=4",
           "parallel={tensor: 2, data: 2, sequence_parallel: true, expert: 4, "
           "expert_tensor: 1}"}}},
        kAdam);
}

TEST_CASE("samples that share a sequence learn the same in every layout", "[correctness]") {
  const std::vector<std::string> packed = {"batch.attended_length=6", "attention=flash"};
  const std::string model = GENERATE(kGpt, kLora);
  check(model, kLayouts, joined(packed, kAdam));
  check(model,
        {{"context 2, Ulysses", {"gpus=2", "parallel={context: 2, context_parallel: ulysses}"}}},
        joined(packed, kAdam));
}

TEST_CASE("Adam learns the same under every strategy", "[correctness]") {
  check_all(kGpt, {"optimizer=adam"});
}

TEST_CASE("ranks learn from stored images what one process learns", "[correctness]") {
  const TemporaryFolder folder("correctness");
  write_mnist(folder.path, 18);
  write_cifar10(folder.path, 18);
  for (const auto& [name, yaml, format] :
       {std::tuple{"ResNet", kResNet, "mnist"}, std::tuple{"ViT", kVit, "cifar10"}}) {
    const std::string data =
        fmt::format("data={{format: {}, path: {}}}", format, folder.path.string());
    const Learned one = ThreadedJob(yaml, {"gpus=1", data}).learned(kSteps);
    const Learned random = ThreadedJob(yaml, {"gpus=1"}).learned(kSteps);
    CHECK(one.losses[0] != random.losses[0]);
    for (const Case& strategy : std::vector<Case>{
             {"data 2", {"gpus=2", "parallel={data: 2}"}},
             {"ZeRO-3", {"gpus=2", "parallel={data: 2, zero_stage: 3}"}},
             {"1F1B x data 2", {"gpus=4", "parallel={data: 2, pipeline: 2}", "schedule=1f1b"}}}) {
      DYNAMIC_SECTION(name << ", " << strategy.name) {
        require_same(ThreadedJob(yaml, joined(strategy.overrides, {data})).learned(kSteps), one);
      }
    }
  }
}

// The same eight images in every step, of eight classes: who knows the classes alone gets no lower
// than log 8.
TEST_CASE("a convolution net learns stored images", "[correctness]") {
  const TemporaryFolder folder("correctness");
  write_mnist(folder.path, 8);
  const Learned learned =
      ThreadedJob(kResNet, {"gpus=1", "data={format: mnist, path: " + folder.path.string() + "}"})
          .learned(20);
  CHECK(learned.losses.front() > 2);  // log(10) = 2.3 without knowledge
  CHECK(learned.losses.back() < std::log(8.0));
}

}  // namespace windtunnel

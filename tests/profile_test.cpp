// Profiles: written and read again, and what a simulation takes from them, worked out by hand.
#include <string>

#include "catch.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "folder.hpp"

namespace windtunnel {

namespace {

// Milliseconds: simulations of one process share a clock, and what they have taken costs digits.
MeasuredCurve curve_of(const std::vector<std::pair<double, double>>& points) {
  MeasuredCurve curve;
  for (const auto& [size, ms] : points) curve.points.push_back({size, {Seconds(ms / 1e3), 0}});
  return curve;
}

std::string cluster_of(int nodes) {
  return "cluster:\n"
         "  nodes:\n"
         "    - {count: " +
         std::to_string(nodes) +
         ", tasks_per_node: 1, cpus_per_task: 1, type: {gpu: ../topologies/gpus/cpu-core.yaml,\n"
         "       cores: 1, memory: 4 GB, memory_bandwidth: 9 GB/s,\n"
         "       interconnect: {family: shared_memory, bandwidth: 4 GB/s, efficiency: 1.0,\n"
         "         latency: 1 us},\n"
         "       nics: {count: 1, bandwidth: 800 Gb/s}}}\n"
         "  fabric: {family: star, efficiency: 1.0, latency: 1 ms}\n"
         "  communication: {model: alpha_beta, algorithm: ring, source: test}\n";
}

Job job_of(const std::string& text, int ranks) {
  return load_job_text(
      text + cluster_of(ranks) + "gpus: " + std::to_string(ranks) + "\nprecision: fp32\n",
      WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml");
}

const std::string kMlp =
    "model: {family: mlp, inputs: 6, hidden: 8, layers: 2, outputs: 4}\n"
    "batch: {global: 4, micro: 2}\noptimizer: adam\n";

// F = 1, 2, ... ms and B = 10, 20, ... ms.
Profile profile_of_layers(const Job& job) {
  Profile profile{.name = "test", .source = "made up", .date = "2026-11-21"};
  profile.hardware = "none";
  profile.software = "none";
  for (int layer = 0; layer < int(job.model.layers.size()); ++layer) {
    LayerTime time{
        .identity = layer_identity(job, layer), .kin = layer_kin(job, layer), .passes = {}};
    bool known = false;
    for (const LayerTime& other : profile.layers) known = known || other.identity == time.identity;
    if (known) continue;
    time.passes[0] = Figure{Seconds(1e-3 * (layer + 1)), 0.01};
    time.passes[1] = Figure{Seconds(1e-2 * (layer + 1)), 0.02};
    profile.layers.push_back(time);
  }
  return profile;
}

double step_ms(const Job& job, Fidelity fidelity) {
  const Plan plan = build_plan(job);
  Conditions conditions = conditions_of(job);
  conditions.fidelity = fidelity;
  return 1e3 * simulate(plan, build_cluster(job.cluster, job.gpus), conditions).end.value;
}

void check_step(const Job& job, double ms) {
  for (const Fidelity fidelity :
       {Fidelity::Folded, Fidelity::Stage, Fidelity::Full, Fidelity::Rounds}) {
    INFO(name_of(kFidelityNames, fidelity));
    CHECK(step_ms(job, fidelity) == Approx(ms).epsilon(1e-9));
  }
}

}  // namespace

TEST_CASE("a profile is read as it was written") {
  Profile profile = profile_of_layers(job_of(kMlp, 1));
  profile.name = "a \"quoted\" \\ name";
  profile.noise = "load average 3.1: others use the machine";
  profile.layers.front().passes[2] = Figure{Seconds(1.25e-7), 0.5};
  profile.optimizers = {{"adam", curve_of({{10, 1}, {1e6, 500}}), curve_of({{10, 2}})},
                        {"sgd", curve_of({{10, 1}}), std::nullopt}};
  profile.collectives = {{CollectiveKind::ReduceScatter, CollectivePurpose::Gradients, 4, 2,
                          curve_of({{1024, 3}, {1048576, 250}})}};
  profile.messages = {{2, curve_of({{4096, 35}})}};
  profile.slowdowns = {{2, 1, {1.125, 0.01}, {1.5, 0.02}}, {4, 2, {1, 0}, {2, 0.5}}};
  profile.cpu_seconds_per_byte = 6.5e-10;
  profile.gpu = load_gpu(WINDTUNNEL_SOURCE_DIR "/topologies/gpus/cpu-core.yaml");
  const TemporaryFolder folder("profile");
  const std::string path = folder.path / "profile.yaml";
  write_text(path, to_yaml(profile));
  const Profile read = load_profile(path);
  CHECK(check_file(path) == FileKind::Profile);
  CHECK(read.name == profile.name);
  CHECK(read.source == profile.source);
  CHECK(read.date == profile.date);
  CHECK(read.hardware == profile.hardware);
  CHECK(read.software == profile.software);
  CHECK(read.noise == profile.noise);
  CHECK(read.layers == profile.layers);
  CHECK(read.optimizers == profile.optimizers);
  CHECK(read.collectives == profile.collectives);
  CHECK(read.messages == profile.messages);
  CHECK(read.slowdowns == profile.slowdowns);
  CHECK(*read.cpu_seconds_per_byte == Approx(6.5e-10).epsilon(1e-12));
  REQUIRE(read.gpu);
  CHECK(read.gpu->memory_bandwidth == profile.gpu->memory_bandwidth);
  for (std::size_t i = 0; i < kOpClassNames.size(); ++i)
    CHECK(read.gpu->efficiency[i].points.size() == profile.gpu->efficiency[i].points.size());
  CHECK(to_yaml(read) == to_yaml(profile));
}

TEST_CASE("a card keeps its tiles in a profile, beside the GEMMs that were measured") {
  for (const char* name : {"h100-sxm5", "a100-sxm4-80gb", "mi300x", "b200-sxm"}) {
    INFO(name);
    Profile profile{.name = "test", .source = "made up", .date = "2026-11-22"};
    profile.hardware = profile.software = "none";
    profile.gpu = load_gpu(WINDTUNNEL_SOURCE_DIR "/topologies/gpus/" + std::string(name) + ".yaml");
    profile.gpu->measured_gemms = {{DType::Bf16, 4096, 4096, 4096, 0.75},
                                   {DType::Tf32, 515, 96, 128, 0.0123}};
    profile.kernel_issue = Seconds(4.5e-6);
    const TemporaryFolder folder("card");
    const std::string path = folder.path / "card.yaml";
    write_text(path, to_yaml(profile));
    const Profile read = load_profile(path);
    CHECK(to_yaml(read) == to_yaml(profile));
    REQUIRE(read.kernel_issue);
    CHECK(read.kernel_issue->value == Approx(4.5e-6));
    REQUIRE(read.gpu);
    CHECK(read.gpu->measured_gemms == profile.gpu->measured_gemms);
    CHECK(read.gpu->tdp == profile.gpu->tdp);
    CHECK(read.gpu->cudnn_attention == profile.gpu->cudnn_attention);
    for (const std::int64_t m : {96, 1000, 4096, 20000})
      for (const DType type : {DType::Fp32, DType::Bf16, DType::Fp8}) {
        if (!profile.gpu->peak[std::size_t(type)]) continue;
        const Work work = matmul(m, 4096, 4096, type);
        CHECK(kernel_time(*read.gpu, work, type).value ==
              Approx(kernel_time(*profile.gpu, work, type).value).epsilon(1e-4));
      }
  }
}

TEST_CASE("a measured curve: straight lines, constant before, proportional after") {
  const MeasuredCurve curve = curve_of({{100, 1}, {300, 5}, {400, 5.5}});
  CHECK(curve.at(1).value == Approx(1e-3 * 1));
  CHECK(curve.at(100).value == Approx(1e-3 * 1));
  CHECK(curve.at(200).value == Approx(1e-3 * 3));
  CHECK(curve.at(300).value == Approx(1e-3 * 5));
  CHECK(curve.at(350).value == Approx(1e-3 * 5.25));
  CHECK(curve.at(800).value == Approx(1e-3 * 11));
}

TEST_CASE("measured layers and optimizer take exactly their times") {
  // inputs 6 -> 8, two layers 8 -> 8, 8 -> 4: the middle ones are alike.
  // Two micro-batches: 2 (1 + 2 + 2 + 4 + 10 + 20 + 20 + 40) = 198 ms.
  Job job = job_of(kMlp, 1);
  REQUIRE(job.model.layers.size() == 4);
  job.profile = profile_of_layers(job);
  REQUIRE(job.profile->layers.size() == 3);
  // 6 x 8 + 8 + 2 (64 + 8) + 32 + 4 = 236 parameters: between 136 and 336 half way, 3 ms; norm
  // 0.5 ms.
  REQUIRE(job.model.parameter_count() == 236);
  job.profile->optimizers = {
      {optimizer_identity(job), curve_of({{136, 2}, {336, 4}}), curve_of({{236, 0.5}})}};
  check_step(job, 198 + 3 + 0.5);

  SECTION("a straggler takes longer") {
    job.stragglers = {{0, 1.5}};
    check_step(job, 1.5 * (198 + 3.5));
  }
  SECTION("a micro-batch that was not measured is read off the one that was") {
    job.batch.micro = 4;  // one of twice the size
    check_step(job, 198 + 3 + 0.5);
    CHECK(profile_coverage(job, build_plan(job)) ==
          "profile test, 2026-11-21, quiet\n"
          "  measured: gradient norm, optimizer\n"
          "  from other sizes: block 0, block 1, head, input\n");
  }
  SECTION("another depth has the same layers") {
    Job deep = job_of(
        "model: {family: mlp, inputs: 6, hidden: 8, layers: 4, outputs: 4}\n"
        "batch: {global: 4, micro: 2}\noptimizer: none\ngradient_clipping: false\n",
        1);
    deep.profile = job.profile;
    check_step(deep, 198 + 2 * 2 * (2 + 20));
  }
  SECTION("emulated compute is the topology's") {
    job.compute = ComputeMode::Emulated;
    CHECK(step_ms(job, Fidelity::Full) < 1);
  }
  SECTION("coverage") {
    job.profile->layers.pop_back();
    CHECK(profile_coverage(job, build_plan(job)) ==
          "profile test, 2026-11-21, quiet\n"
          "  measured: block 0, block 1, gradient norm, input, optimizer\n"
          "  by the topology's models: head\n");
  }
}

TEST_CASE("a layer between measured ones of its kin") {
  // A block of hidden h: 2 x 2 h h FLOPs forward.
  const auto mlp = [](int hidden, int micro) {
    return job_of("model: {family: mlp, inputs: 6, hidden: " + std::to_string(hidden) +
                      ", layers: 2, outputs: 4}\nbatch: {global: 8, micro: " +
                      std::to_string(micro) + "}\noptimizer: adam\n",
                  1);
  };
  constexpr int kBlock = 1;
  Profile profile{.name = "test", .source = "made up", .date = "2026-11-21"};
  const auto add = [&](const Job& job, double ms) {
    profile.layers.push_back({layer_identity(job, kBlock), layer_kin(job, kBlock), {}});
    profile.layers.back().passes[0] = Figure{Seconds(1e-3 * ms), 0};
  };
  const auto forward = [&](Job job) {
    job.profile = profile;
    const auto pass = measured_times(job).pass(kBlock, ActionType::F);
    REQUIRE(pass);
    CHECK(pass->other_sizes);
    return 1e3 * pass->time.value;
  };
  add(mlp(8, 2), 2);    // 256 FLOPs
  add(mlp(32, 2), 18);  // 16 times as many, 9 times as long
  CHECK(layer_kin(mlp(32, 2), kBlock).size == 4096);
  CHECK(forward(mlp(16, 2)) == Approx(6));   // half way in the logarithm: 2 sqrt(9)
  CHECK(forward(mlp(64, 2)) == Approx(72));  // beyond the last: 4 times as many FLOPs
  CHECK(forward(mlp(4, 2)) == Approx(0.5));  // before the first: a quarter
  CHECK(forward(mlp(8, 8)) == Approx(8));    // of the same tensors there is one, 4 times as large

  Job other = mlp(16, 2);
  other.optimizer = OptimizerKind::Sgd;  // no matter of layers
  CHECK(forward(other) == Approx(6));
  other.precision.gradients = DType::Bf16;
  other.profile = profile;
  CHECK_FALSE(measured_times(other).pass(kBlock, ActionType::F));
  CHECK_FALSE(measured_times(other).pass(kBlock, ActionType::B));
}

TEST_CASE("a measured all-reduce takes its time") {
  // 236 gradients of 4 bytes; between 744 B and 1144 B half way, 6 ms. Layers 99 ms a micro-batch.
  Job job = job_of(
      "model: {family: mlp, inputs: 6, hidden: 8, layers: 2, outputs: 4}\n"
      "batch: {global: 4, micro: 2}\noptimizer: none\ngradient_clipping: false\n"
      "parallel: {data: 2}\ndata_parallel: {overlap: false}\n",
      2);
  job.profile = profile_of_layers(job);
  const MeasuredCurve curve = curve_of({{744, 5}, {1144, 7}});
  job.profile->collectives = {
      {CollectiveKind::AllReduce, CollectivePurpose::Plain, 2, 2, curve_of({{1, 50}})},
      {CollectiveKind::AllReduce, CollectivePurpose::Gradients, 2, 1, curve_of({{1, 60}})},
      {CollectiveKind::AllReduce, CollectivePurpose::Gradients, 4, 2, curve_of({{1, 70}})},
      {CollectiveKind::AllReduce, CollectivePurpose::Gradients, 2, 2, curve}};
  check_step(job, 99 + 6);
  // Without the one that gradients need, the collective by itself: 50 ms a byte.
  job.profile->collectives.pop_back();
  check_step(job, 99 + 50.0 * 944);
}

TEST_CASE("what a profile has of kernels beside collectives is listed") {
  Job job = job_of(kMlp + "parallel: {data: 2}\n", 2);
  job.profile = profile_of_layers(job);
  const std::string layers = "block 0, block 1, head, input",
                    reduction = "all_reduce of 2 ranks on 2 nodes",
                    rest = "gradient norm, optimizer",
                    beside = "kernels beside collectives of 2 ranks on 2 nodes";
  const std::string profile = "profile test, 2026-11-21, quiet\n";
  const auto coverage = [&] { return profile_coverage(job, build_plan(job)); };
  CHECK(coverage() == profile + "  measured: " + layers + "\n  by the topology's models: " +
                          reduction + ", gradient norm, " + beside + ", optimizer\n");
  job.profile->slowdowns = {{2, 2, {1.25, 0}, {1.5, 0}}};
  CHECK(coverage() == profile + "  measured: block 0, block 1, head, input, " + beside +
                          "\n  by the topology's models: " + reduction + ", " + rest + "\n");
  // Emulated compute is slowed by nothing.
  job.compute = ComputeMode::Emulated;
  CHECK(measured_times(job).slowdowns.empty());
  CHECK(coverage().find("beside") == std::string::npos);
}

TEST_CASE("a measured message takes its time") {
  // GPipe of two synthetic stages: F 1 ms, message 3 ms, B 2 ms, one micro-batch. F 0-1, 4-5; B
  // 5-7, message 7-10, B 10-12.
  Job job = job_of(
      "model: {family: synthetic, layers: 2, message: 1 MB, activation: 0 B, forward: 1 ms,\n"
      "  backward_input: 1 ms, backward_weight: 1 ms}\n"
      "batch: {global: 1, micro: 1}\noptimizer: none\ngradient_clipping: false\n"
      "parallel: {pipeline: 2}\nschedule: gpipe\n",
      2);
  job.profile = Profile{};
  job.profile->messages = {{1, curve_of({{1e6, 30}})}, {2, curve_of({{5e5, 1}, {1.5e6, 5}})}};
  check_step(job, 12);
}

TEST_CASE("a profile in a job, by file and by option") {
  Job measured = job_of(kMlp, 1);
  Profile profile = profile_of_layers(measured);
  profile.cpu_seconds_per_byte = 1e-9;
  profile.gpu = load_gpu(WINDTUNNEL_SOURCE_DIR "/topologies/gpus/cpu-core.yaml");
  profile.gpu->name = "this core";
  const TemporaryFolder folder("profile");
  const std::string path = folder.path / "here.yaml";
  write_text(path, to_yaml(profile));
  const std::string text = kMlp + cluster_of(1) + "gpus: 1\nprecision: fp32\n";
  for (const Job& job :
       {load_job_text(text + "profile: " + path + "\n", WINDTUNNEL_SOURCE_DIR "/workloads/t.yaml"),
        load_job_text(text, WINDTUNNEL_SOURCE_DIR "/workloads/t.yaml", {"profile=" + path})}) {
    REQUIRE(job.profile);
    CHECK(job.profile->layers == profile.layers);
    CHECK(job.cluster.communication.cpu_seconds_per_byte == Approx(1e-9));
    CHECK(job.cluster.node_types[0].gpu.name == "this core");
  }
  // Emulated compute takes no core, whoever copies.
  const Job emulated = load_job_text(text + "compute: emulated\nprofile: " + path + "\n",
                                     WINDTUNNEL_SOURCE_DIR "/workloads/t.yaml");
  CHECK(emulated.cluster.communication.cpu_seconds_per_byte == 0);
}

TEST_CASE("a card's profile says how fast its host issues kernels, unless the job does") {
  Profile profile{.name = "test", .source = "made up", .date = "2026-11-22"};
  profile.hardware = profile.software = "none";
  profile.kernel_issue = Seconds(6e-6);
  const TemporaryFolder folder("issue");
  const std::string path = folder.path / "card.yaml";
  write_text(path, to_yaml(profile));
  const std::string text =
      "model: {family: gpt, hidden: 64, layers: 1, heads: 1, vocab: 64, max_sequence: 64}\n"
      "gpus: 1\nbatch: {global: 1, micro: 1, sequence: 64}\nprofile: " +
      path + "\n";
  const auto kernel_us = [&](const std::string& more) {
    return 1e6 *
           load_job_text(text + more, WINDTUNNEL_SOURCE_DIR "/workloads/t.yaml").host.kernel.value;
  };
  const std::string card = "precision: bf16\ncluster: ../topologies/clusters/single-8xh100.yaml\n";
  CHECK(kernel_us(card) == Approx(6));
  CHECK(kernel_us(card + "host: {kernel: 2 us, collective: 3 us}\n") == Approx(2));
  CHECK(kernel_us(card + "compute: emulated\n") == 0);
  CHECK(kernel_us("precision: fp32\n" + cluster_of(1)) == 0);
}

}  // namespace windtunnel

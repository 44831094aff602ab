// Pipelines with rendezvous transfers and with copies that take core time: timelines worked out by
// hand, and properties over every schedule. By the command line's own path from YAML to Trace.
#include <array>
#include <string>

#include "catch.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"

namespace windtunnel {

namespace {

constexpr std::array kFidelities = {"folded", "stage", "full", "rounds"};

struct Pipeline {
  std::string schedule = "gpipe";
  int ranks = 2, virtual_stages = 1, micro_batches = 2;
  std::string forward = "1 s", half_backward = "1 s";
  std::string message = "1 GB", bandwidth = "16 Gb/s";  // half a second
};

Job job_of(const Pipeline& pipeline, const std::string& communication) {
  const std::string ranks = std::to_string(pipeline.ranks);
  const std::string stages = std::to_string(pipeline.ranks * pipeline.virtual_stages);
  return load_job_text(
      "model: {family: synthetic, layers: " + stages + ", message: " + pipeline.message +
          ", activation: 0 B,\n  forward: " + pipeline.forward + ", backward_input: " +
          pipeline.half_backward + ", backward_weight: " + pipeline.half_backward +
          "}\n"
          "cluster:\n"
          "  nodes:\n"
          "    - {count: " +
          ranks +
          ", tasks_per_node: 1, cpus_per_task: 1, type: {gpu: ../topologies/gpus/cpu-core.yaml,\n"
          "       cores: 1, memory: 4 GB, memory_bandwidth: 9 GB/s,\n"
          "       interconnect: {family: shared_memory, bandwidth: 4 GB/s, latency: 1 us, "
          "efficiency: 1},\n"
          "       nics: {count: 1, bandwidth: " +
          pipeline.bandwidth +
          "}}}\n"
          "  fabric: {family: star, latency: 0 s, efficiency: 1}\n"
          "  communication: {model: alpha_beta, algorithm: ring, source: test" +
          communication + "}\ngpus: " + ranks + "\nparallel: {pipeline: " + ranks +
          ", virtual_stages: " + std::to_string(pipeline.virtual_stages) +
          "}\nbatch: {global: " + std::to_string(pipeline.micro_batches) +
          ", micro: 1}\nprecision: fp32\noptimizer: none\ngradient_clipping: false\nschedule: " +
          pipeline.schedule + "\n",
      WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml");
}

// Seconds, the same at every fidelity.
double step(const Pipeline& pipeline, const std::string& communication) {
  Job job = job_of(pipeline, communication);
  const Plan plan = build_plan(job);
  const Cluster cluster = build_cluster(job.cluster, job.gpus);
  double time = 0;
  for (const std::string fidelity : kFidelities) {
    INFO(fidelity);
    Conditions conditions = conditions_of(job);
    conditions.fidelity = *enum_from<Fidelity>(kFidelityNames, fidelity);
    const double at = simulate(plan, cluster, conditions).end.value;
    if (time > 0) CHECK(at == Approx(time).epsilon(1e-9));
    time = at;
  }
  return time;
}

std::string rendezvous(int ahead) {
  return ", point_to_point: rendezvous, receives_ahead: " + std::to_string(ahead);
}

}  // namespace

TEST_CASE("rendezvous: GPipe of two ranks and two micro-batches") {
  // F = 1, B = 2, a message c = 1/2 s. Eager: rank 1 F 1.5-2.5, 2.5-3.5, B 3.5-5.5, 5.5-7.5; rank 0
  // B 6-8, 8-10.
  const Pipeline pipeline;
  CHECK(step(pipeline, "") == Approx(10).epsilon(1e-9));
  CHECK(step(pipeline, ", point_to_point: eager") == Approx(10).epsilon(1e-9));
  // Posted when needed: rank 1 posts its second receive at 2.5, when its first F has ended: F
  // 1.5-2.5, message 2.5-3, F 3-4, B 4-6, 6-8. Rank 0 has waited for the first gradient since 2:
  // 6-6.5, B 6.5-8.5; then it posts the second, which has been there since 8: 8.5-9, B 9-11.
  CHECK(step(pipeline, rendezvous(0)) == Approx(11).epsilon(1e-9));
  // One ahead: the second receive is posted while the first F or B waits. As eager.
  CHECK(step(pipeline, rendezvous(1)) == Approx(10).epsilon(1e-9));
}

TEST_CASE("rendezvous: 1F1B of two ranks and two micro-batches") {
  // Eager: rank 0 F 0-1, 1-2; rank 1 F 1.5-2.5, B 2.5-4.5, F 4.5-5.5, B 5.5-7.5; gradients at 5 and
  // 8; rank 0 B 5-7, 8-10.
  const Pipeline pipeline{.schedule = "1f1b"};
  CHECK(step(pipeline, "") == Approx(10).epsilon(1e-9));
  // Posted when needed: rank 1 asks for the second activation at 4.5: F 5-6, B 6-8. Rank 0 B 5-7,
  // has asked for the second gradient since 7: 8-8.5, B 8.5-10.5.
  CHECK(step(pipeline, rendezvous(0)) == Approx(10.5).epsilon(1e-9));
  CHECK(step(pipeline, rendezvous(1)) == Approx(10).epsilon(1e-9));
}

TEST_CASE("rendezvous: a receive that is posted late is no reason for compute to wait") {
  // One micro-batch: nothing is sent before its receiver waits, F 1, c, F 1, B 2, c, B 2.
  Pipeline pipeline;
  pipeline.micro_batches = 1;
  CHECK(step(pipeline, "") == Approx(7).epsilon(1e-9));
  CHECK(step(pipeline, rendezvous(0)) == Approx(7).epsilon(1e-9));
}

TEST_CASE("rendezvous: GPipe as measured with Gloo") {
  // Emulated compute, F = 10.1 and B = 20.1 ms, messages of 512 KiB at 0.9564 Gb/s: c = 4.386 ms; 8
  // micro-batches, 1 ms for the optimizer, which is not in this model. Receives posted when needed:
  // F + 8 (c + F) + B + 8 (c + B) = 341.9 and 1: measured 342.7. Early: 9 (F + B) + 2 c = 280.6
  // and 1: measured 284.9.
  const Pipeline pipeline{.micro_batches = 8,
                          .forward = "10.1 ms",
                          .half_backward = "10.05 ms",
                          .message = "524288 B",
                          .bandwidth = "956.4 Mb/s"};
  const double f = 10.1e-3, b = 20.1e-3, c = 524288 / (956.4e6 / 8);
  CHECK(step(pipeline, rendezvous(0)) == Approx(f + 8 * (c + f) + b + 8 * (c + b)).epsilon(1e-7));
  for (const std::string& early : {std::string(), rendezvous(1), rendezvous(8)})
    CHECK(step(pipeline, early) == Approx(9 * (f + b) + 2 * c).epsilon(1e-7));
}

TEST_CASE("rendezvous: every schedule ends, and far ahead it is eager") {
  for (const ScheduleFamily& family : schedule_table())
    for (const int virtual_stages : {1, 2})
      for (const int ranks : {2, 4}) {
        if (!family.limits(ranks, 8, virtual_stages).empty()) continue;
        INFO(family.name << ", " << ranks << " ranks, " << virtual_stages << " virtual stages");
        const Pipeline pipeline{.schedule = std::string(family.name),
                                .ranks = ranks,
                                .virtual_stages = virtual_stages,
                                .micro_batches = 8,
                                .forward = "1.1 s",
                                .half_backward = "1.3 s",
                                .message = "1 GB",
                                .bandwidth = "11 Gb/s"};
        const double eager = step(pipeline, "");
        CHECK(step(pipeline, rendezvous(1000)) == Approx(eager).epsilon(1e-9));
        CHECK(step(pipeline, rendezvous(0)) > eager * (1 - 1e-9));
      }
}

TEST_CASE("copies: transfers take core time from both ends, while they compute") {
  // GPipe as above, 0.2 ns/B: 0.1 s of a core at each end of a message.
  // Rank 0: F 0-1, 1-2. The first activation leaves beside the second F: the next op is late by
  //   0.1. The second leaves while rank 0 waits.
  // Rank 1: F 1.5-2.5; the second activation comes beside it: F 2.5-3.6. B 3.6-5.6, 5.6-7.6; the
  //   first gradient leaves beside the second B, after which nothing runs.
  // Rank 0: B 6.1-8.2; the second gradient comes beside it, 7.6-8.1: B 8.2-10.3.
  const Pipeline pipeline;
  CHECK(step(pipeline, ", cpu_per_byte: 0.2 ns/B") == Approx(10.3).epsilon(1e-9));
}

}  // namespace windtunnel

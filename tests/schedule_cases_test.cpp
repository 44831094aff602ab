// Whole steps of synthetic models, by the command line's own path (YAML, Plan, simulation, Report),
// against tests/data/schedule_cases.json and timelines worked out by hand.
#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "asap.hpp"
#include "catch.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "report/report.hpp"

namespace windtunnel {

namespace {

constexpr double kActivation = 1000;  // bytes that one virtual stage stores for a micro-batch

struct Step {
  Job job;
  Plan plan;
  Trace trace;
  Report report;
};

Step simulated(const std::string& yaml, const std::string& fidelity = "folded") {
  Step step{.job = load_job_text(yaml, WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml",
                                 {"fidelity=" + fidelity})};
  step.plan = build_plan(step.job);
  step.trace =
      simulate(step.plan, build_cluster(step.job.cluster, step.job.gpus), conditions_of(step.job));
  step.report = summarize(step.job, step.plan, step.trace);
  return step;
}

// Nodes of one GPU and one NIC on a switch.
std::string cluster(int nodes, const std::string& bandwidth, const std::string& latency) {
  return "cluster:\n"
         "  nodes:\n"
         "    - {count: " +
         std::to_string(nodes) +
         ", type: {gpu: ../topologies/gpus/a100-sxm4-80gb.yaml, gpus: 1,\n"
         "       interconnect: {family: nvlink_switch, bandwidth: 300 GB/s, latency: 0 s, "
         "efficiency: 1},\n"
         "       nics: {count: 1, bandwidth: " +
         bandwidth +
         "}}}\n"
         "  fabric: {family: star, latency: " +
         latency +
         ", efficiency: 1}\n"
         "  communication: {model: alpha_beta, algorithm: ring}\n"
         "gpus: " +
         std::to_string(nodes) +
         "\n"
         "optimizer: none\n"
         "gradient_clipping: false\n";
}

// One time, or a list of one for each stage.
std::string times(const nlohmann::json& value) {
  if (!value.is_array()) return std::to_string(value.get<double>()) + " s";
  std::string list;
  for (const nlohmann::json& time : value) list += (list.empty() ? "[" : ", ") + times(time);
  return list + "]";
}

std::string yaml_of(const nlohmann::json& schedule_case, const std::string& message = "0 B",
                    const std::string& bandwidth = "100 GB/s", const std::string& latency = "") {
  const auto of = [&](const std::string& key) {
    const std::string by_stage = key + "_per_stage";
    return times(schedule_case[schedule_case.contains(by_stage) ? by_stage : key]);
  };
  const int p = schedule_case["p"], v = schedule_case["v"], m = schedule_case["m"];
  return "model: {family: synthetic, layers: " + std::to_string(p * v) + ", message: " + message +
         ", activation: 1 kB,\n  forward: " + of("forward") +
         ",\n  backward_input: " + of("backward_input") +
         ",\n  backward_weight: " + of("backward_weight") + "}\n" +
         cluster(p, bandwidth,
                 latency.empty() ? times(schedule_case["message_latency"]) : latency) +
         "parallel: {pipeline: " + std::to_string(p) + ", virtual_stages: " + std::to_string(v) +
         "}\nbatch: {global: " + std::to_string(m) +
         ", micro: 1}\nschedule: " + schedule_case["schedule"].get<std::string>() + "\n";
}

bool is_compute(const Program& program, const Span& span) {
  return program.ops[std::size_t(span.op)].kind == OpKind::Compute;
}

double span_of(const Program& program, const RankTrace& rank) {
  double first = 1e300, last = 0;
  for (const Span& span : rank.spans) {
    if (!is_compute(program, span)) continue;
    first = std::min(first, span.start.value);
    last = std::max(last, span.end.value);
  }
  return last - first;
}

// The most activation bytes alive at once, by the dates of the trace. What one op frees at a date
// the next may use.
double peak_activation_bytes(const Program& program, const RankTrace& rank) {
  std::vector<std::pair<double, double>> changes;  // date, bytes
  const auto note = [&](Seconds date, const std::vector<MemoryChange>& of_op) {
    for (const MemoryChange& change : of_op)
      if (change.kind == MemoryKind::Activations) changes.emplace_back(date.value, change.bytes);
  };
  for (const Span& span : rank.spans) {
    note(span.start, program.ops[std::size_t(span.op)].on_start);
    note(span.end, program.ops[std::size_t(span.op)].on_end);
  }
  std::sort(changes.begin(), changes.end());
  double now = 0, peak = 0;
  for (const auto& [date, bytes] : changes) peak = std::max(peak, now += bytes);
  CHECK(now == 0);
  return peak;
}

void check_case(const nlohmann::json& expected, const Step& step) {
  CHECK(step.report.step_time.value == Approx(expected["makespan"].get<double>()).epsilon(1e-9));
  CHECK(step.report.bubble_fraction ==
        Approx(expected["bubble_fraction"].get<double>()).epsilon(1e-9).margin(1e-9));
  REQUIRE(step.trace.ranks.size() == expected["p"].get<std::size_t>());
  double largest_span = 0;
  for (const RankTrace& rank : step.trace.ranks) {
    const Program& program = step.plan.programs[std::size_t(rank.program)];
    const auto device = std::size_t(program.pipeline);
    INFO("device " << device);
    largest_span = std::max(largest_span, span_of(program, rank));
    const double peak = expected["peak_activations"][device].get<double>() * kActivation;
    CHECK(peak_activation_bytes(program, rank) == peak);
    CHECK(peak_memory(program).at_peak[std::size_t(MemoryKind::Activations)].value == peak);
    std::array<int, 2> messages{};
    for (const Op& op : program.ops)
      if (op.kind == OpKind::Send) ++messages[op.purpose == Purpose::Activation ? 0 : 1];
    CHECK(messages[0] == expected["messages"][device][0].get<int>());
    CHECK(messages[1] == expected["messages"][device][1].get<int>());
  }
  CHECK(largest_span == Approx(expected["largest_span"].get<double>()).epsilon(1e-9));
}

nlohmann::json schedule_cases() {
  std::ifstream file(WINDTUNNEL_SOURCE_DIR "/tests/data/schedule_cases.json");
  return nlohmann::json::parse(file);
}

}  // namespace

TEST_CASE("schedule cases: makespan, bubble, spans, activations and messages") {
  // A message has no bytes; the switch's latency is the case's.
  const nlohmann::json cases = schedule_cases();
  REQUIRE(cases.size() >= 44);
  for (const nlohmann::json& expected : cases) {
    INFO(expected.dump());
    check_case(expected, simulated(yaml_of(expected)));
  }
}

TEST_CASE("schedule cases: at every fidelity") {
  int checked = 0;
  for (const nlohmann::json& expected : schedule_cases()) {
    if (expected["p"] != 4 || expected.contains("forward_per_stage")) continue;
    INFO(expected.dump());
    for (const std::string fidelity : {"stage", "full", "rounds"}) {
      INFO(fidelity);
      check_case(expected, simulated(yaml_of(expected), fidelity));
    }
    ++checked;
  }
  CHECK(checked >= 8);
}

TEST_CASE("schedule cases: a message of S bytes on a link of B takes S / B") {
  // Two ranks: each direction of a link has one kind of message. 1 GB at 4 GB/s is 1/4 s, which is
  // less than any action, so no message waits for the one before it. Against the oracle of asap.hpp
  // with that latency.
  for (const std::string schedule : {"naive", "gpipe", "1f1b", "zb-h1", "zb-h2"}) {
    INFO(schedule);
    const nlohmann::json expected = {{"schedule", schedule},
                                     {"p", 2},
                                     {"m", 6},
                                     {"v", 1},
                                     {"forward", 1},
                                     {"backward_input", 1},
                                     {"backward_weight", 1},
                                     {"message_latency", 0.25}};
    const AsapRun run = asap_run(find_schedule(schedule)->make(2, 6, 1), StageTimes{}, 0.25);
    for (const std::string fidelity : {"folded", "full"})
      CHECK(simulated(yaml_of(expected, "1 GB", "4 GB/s", "0 s"), fidelity).trace.end.value ==
            Approx(run.makespan).epsilon(1e-9));
  }
}

TEST_CASE("schedule cases: blocking transfers hold both ranks") {
  // Two ranks, one micro-batch, F = 1, B = 2, a message takes 1/2: F0 0-1, message 1-1.5, F1
  // 1.5-2.5, B1 2.5-4.5, message 4.5-5, B0 5-7. With a second micro-batch under GPipe rank 0 may
  // begin its F1 at 1 if transfers are beside compute and only at 1.5 if they block:
  //   beside: rank 1 F 1.5-2.5, 2.5-3.5; B of both 3.5-7.5, the first to end has its gradient at 6,
  //     the second at 8; rank 0 B 6-8, 8-10.
  //   blocking: rank 0 F 0-1, send 1-1.5, F 1.5-2.5, send 2.5-3. Rank 1 F 1.5-2.5, F 3-4, B 4-6,
  //     send 6-6.5, B 6.5-8.5, send 8.5-9. Rank 0 B 6.5-8.5, B 9-11.
  nlohmann::json job = {{"schedule", "gpipe"},
                        {"p", 2},
                        {"m", 1},
                        {"v", 1},
                        {"forward", 1},
                        {"backward_input", 1},
                        {"backward_weight", 1},
                        {"message_latency", 0.5}};
  const std::string blocking = "pipeline_transfer: blocking\n";
  for (const std::string fidelity : {"folded", "stage", "full", "rounds"}) {
    INFO(fidelity);
    job["m"] = 1;
    CHECK(simulated(yaml_of(job), fidelity).trace.end.value == Approx(7).epsilon(1e-9));
    CHECK(simulated(yaml_of(job) + blocking, fidelity).trace.end.value == Approx(7).epsilon(1e-9));
    job["m"] = 2;
    CHECK(simulated(yaml_of(job), fidelity).trace.end.value == Approx(10).epsilon(1e-9));
    CHECK(simulated(yaml_of(job) + blocking, fidelity).trace.end.value == Approx(11).epsilon(1e-9));
  }
}

namespace {

// 4 layers of 25 MB of fp32 gradients, each a bucket of its own; forward 4 x 5 ms, backward 4 x 10
// ms. On a ring of 4 a bucket takes 2 * 3/4 * 25 MB / B: 3.75 ms at 10 GB/s, 15 ms at 2.5 GB/s.
double data_parallel_ms(const std::string& bandwidth, const std::string& options,
                        int micro_batches = 1) {
  const std::string yaml =
      "model: {family: synthetic, layers: 4, message: 0 B, activation: 0 B, layer_bytes: 25 MB,\n"
      "  forward: 5 ms, backward_input: 5 ms, backward_weight: 5 ms}\n" +
      cluster(4, bandwidth, "0 s") +
      "parallel: {data: 4}\n"
      "batch: {global: " +
      std::to_string(4 * micro_batches) +
      ", micro: 1}\n"
      "precision: fp32\n"
      "data_parallel: {bucket: 25 MB" +
      options + "}\n";
  const double folded = simulated(yaml).trace.end.value;
  for (const std::string fidelity : {"stage", "full", "rounds"})
    CHECK(simulated(yaml, fidelity).trace.end.value == Approx(folded).epsilon(1e-9));
  return folded * 1e3;
}

}  // namespace

TEST_CASE("timelines: data parallel, reductions beside the backward pass or after it") {
  // Beside: forward and backward 60 ms, and the last bucket, which is ready at 60: 63.75 ms.
  CHECK(data_parallel_ms("10 GB/s", "") == Approx(63.75).epsilon(1e-9));
  // After: all four, 60 + 15.
  CHECK(data_parallel_ms("10 GB/s", ", overlap: false") == Approx(75).epsilon(1e-9));
  // At 15 ms a bucket they queue from the first, which is ready at 30 ms: 30 + 4 * 15.
  CHECK(data_parallel_ms("2.5 GB/s", "") == Approx(90).epsilon(1e-9));
}

TEST_CASE("timelines: gradients accumulated over four micro-batches") {
  // Reduced after the last one only: 4 * 60 + 3.75. After each: every pass waits for its last
  // bucket before the next begins, 4 * 63.75.
  CHECK(data_parallel_ms("10 GB/s", "", 4) == Approx(243.75).epsilon(1e-9));
  CHECK(data_parallel_ms("10 GB/s", ", no_sync: false", 4) == Approx(255).epsilon(1e-9));
}

namespace {

// FSDP over 2 ranks, 4 layers of 2 GB in fp32 with forward 2 s and backward 4 s. A gather or
// reduce-scatter sends half of a layer: 1 s at 1 GB/s.
struct Fsdp {
  double forward_end = 0, step = 0;
};
Fsdp fsdp(const std::string& bandwidth, const std::string& options) {
  const std::string yaml =
      "model: {family: synthetic, layers: 4, message: 0 B, activation: 0 B, layer_bytes: 2 GB,\n"
      "  forward: 2 s, backward_input: 2 s, backward_weight: 2 s}\n" +
      cluster(2, bandwidth, "0 s") + "parallel: {data: 2, zero_stage: 3, fsdp: {" + options +
      "}}\n"
      "batch: {global: 2, micro: 1}\n"
      "precision: fp32\n";
  Fsdp result;
  for (const std::string fidelity : {"rounds", "full", "stage", "folded"}) {
    INFO(fidelity);
    const Step step = simulated(yaml, fidelity);
    double forward_end = 0;
    for (const Span& span : step.trace.ranks.front().spans)
      if (step.plan.programs.front().ops[std::size_t(span.op)].purpose == Purpose::Forward)
        forward_end = std::max(forward_end, span.end.value);
    if (result.step > 0) {
      CHECK(forward_end == Approx(result.forward_end).epsilon(1e-9));
      CHECK(step.trace.end.value == Approx(result.step).epsilon(1e-9));
    }
    result = {forward_end, step.trace.end.value};
  }
  return result;
}

}  // namespace

TEST_CASE("timelines: FSDP gathers one layer ahead") {
  // Gather 1, forward 2: only the first gather is exposed, 1 + 4 * 2 = 9. The last layer stays
  // gathered; backward: gathers 2, 1, 0 and reduce-scatters hide behind 4 * 4, the last
  // reduce-scatter does not: 17 more.
  const Fsdp kept = fsdp("1 GB/s", "");
  CHECK(kept.forward_end == Approx(9).epsilon(1e-9));
  CHECK(kept.step == Approx(9 + 17).epsilon(1e-9));
  // The last layer gathered again: its gather is exposed, 18.
  const Fsdp again = fsdp("1 GB/s", "keep_last_layer: false");
  CHECK(again.forward_end == Approx(9).epsilon(1e-9));
  CHECK(again.step == Approx(9 + 18).epsilon(1e-9));
}

TEST_CASE("timelines: FSDP bound by communication") {
  // Gather 3, forward 2, two layers at a time: gathers 0-3, 3-6, 6-9, 9-12; forwards 3-5, 6-8,
  // 9-11, 12-14. Backward from 14 on: gather of 2 0-3, backward of 3 0-4; reduce-scatter of 3 4-7,
  // gather of 1 7-10, backward of 2 4-8; reduce-scatter of 2 10-13, backward of 1 10-14; gather of
  // 0 13-16, reduce-scatter of 1 16-19, backward of 0 16-20; reduce-scatter of 0 20-23.
  const Fsdp bound = fsdp("333333333.333333333 B/s", "");
  CHECK(bound.forward_end == Approx(14).epsilon(1e-9));
  CHECK(bound.step == Approx(14 + 23).epsilon(1e-9));
}

TEST_CASE("timelines: FSDP that keeps its weights from forward to backward") {
  // reshard_after_forward false: backward gathers nothing, 4 * 4 and the last reduce-scatter.
  const Fsdp kept = fsdp("1 GB/s", "reshard_after_forward: false");
  CHECK(kept.step == Approx(9 + 17).epsilon(1e-9));
  // Communication bound, from 14 on: reduce-scatters are ready at 4, 8, 12, 16 and take 3: 19.
  CHECK(fsdp("333333333.333333333 B/s", "reshard_after_forward: false").step ==
        Approx(14 + 19).epsilon(1e-9));
}

}  // namespace windtunnel

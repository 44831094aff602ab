// One step simulated in several ways must take the same time: folded, one span for an action
// (stage), every layer operation (full); and by rounds where nothing competes. Every strategy under
// every condition, by the command line's own path from YAML to Trace.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"

namespace windtunnel {

namespace {

struct Setting {
  std::string name, yaml;
};

// Of 16 ranks. 4 blocks, embedding and head.
const std::vector<Setting> kStrategies = {
    {"data", "parallel: {data: 16}\n"},
    {"data, small buckets", "parallel: {data: 16}\ndata_parallel: {bucket: 1 MiB}\n"},
    {"data, not overlapped", "parallel: {data: 16}\ndata_parallel: {overlap: false}\n"},
    {"data, reductions in every pass", "parallel: {data: 16}\ndata_parallel: {no_sync: false}\n"},
    {"data and tensor", "parallel: {data: 8, tensor: 2}\n"},
    {"tensor over nodes", "parallel: {data: 4, tensor: 4}\n"},
    {"tensor after data", "parallel: {data: 8, tensor: 2, order: [data, tensor, pipeline]}\n"},
    {"pipeline", "parallel: {data: 4, pipeline: 4}\nschedule: 1f1b\n"},
    {"pipeline, blocking",
     "parallel: {data: 4, pipeline: 4}\nschedule: 1f1b\npipeline_transfer: blocking\n"},
    {"gpipe, not overlapped",
     "parallel: {data: 4, pipeline: 4}\nschedule: gpipe\ndata_parallel: {overlap: false}\n"},
    {"zb-h1", "parallel: {data: 4, pipeline: 4}\nschedule: zb-h1\n"},
    {"3d", "parallel: {data: 4, tensor: 2, pipeline: 2}\nschedule: 1f1b\n"},
    {"3d, sequence parallel",
     "parallel: {data: 4, tensor: 2, pipeline: 2, sequence_parallel: true}\nschedule: 1f1b\n"},
    {"3d, recompute",
     "parallel: {data: 4, tensor: 2, pipeline: 2}\nschedule: 1f1b\nrecompute: full\n"},
    {"3d, interleaved",
     "parallel: {data: 4, tensor: 2, pipeline: 2, virtual_stages: 2}\nschedule: interleaved\n"},
    {"3d, zb-v",
     "parallel: {data: 4, tensor: 2, pipeline: 2, virtual_stages: 2}\nschedule: zb-v\n"},
    {"3d, zero 1", "parallel: {data: 4, tensor: 2, pipeline: 2, zero_stage: 1}\nschedule: 1f1b\n"},
    {"zero 2", "parallel: {data: 16, zero_stage: 2}\n"},
    {"zero 3", "parallel: {data: 16, zero_stage: 3}\n"},
    {"zero 3 and tensor", "parallel: {data: 8, tensor: 2, zero_stage: 3}\n"},
    {"hybrid shard", "parallel: {data: 16, zero_stage: 3, fsdp: {shard: 2}}\n"},
    {"hybrid shard over nodes", "parallel: {data: 16, zero_stage: 3, fsdp: {shard: 4}}\n"},
};

// 8 nodes of 2 GPUs and 2 NICs.
struct Condition {
  std::string name;
  std::string fabric = "{family: star, latency: 5 us, efficiency: 1}";
  std::string overrides = "[]", stragglers = "[]";
  bool mixed = false;
};
const std::string kUnevenTree =
    "{family: fat_tree, levels: 2, nodes_per_leaf: 3, oversubscription: 3, latency: 4 us, "
    "hop_latency: 1 us, efficiency: 1}";
const std::vector<Condition> kConditions = {
    {.name = "homogeneous"},
    {.name = "straggler", .stragglers = "[{rank: 5, slowdown: 1.5}]"},
    {.name = "two stragglers", .stragglers = "[{rank: 0, slowdown: 2}, {rank: 9, slowdown: 1.25}]"},
    {.name = "slow GPU", .overrides = "[{node: 3, gpu: 1, slowdown: 1.5}]"},
    {.name = "mixed GPUs", .mixed = true},
    {.name = "degraded NIC", .overrides = "[{link: n2.nic1.up, bandwidth_factor: 0.25}]"},
    {.name = "degraded NVLink", .overrides = "[{link: n6.gpu0.down, bandwidth_factor: 0.1}]"},
    {.name = "uneven leaves", .fabric = kUnevenTree},
    {.name = "all at once",
     .fabric = kUnevenTree,
     .overrides = "[{link: n0.nic0.down, bandwidth_factor: 0.5}]",
     .stragglers = "[{rank: 13, slowdown: 1.2}]",
     .mixed = true},
};

const std::string kAlphaBeta = "{model: alpha_beta, algorithm: ring}", kNccl = "{model: nccl}";

std::string nodes(const std::string& gpu, int count) {
  return "    - {count: " + std::to_string(count) + ", type: {gpu: ../topologies/gpus/" + gpu +
         ".yaml, gpus: 2,\n"
         "       interconnect: {family: nvlink_switch, bandwidth: 300 GB/s, latency: 2 us, "
         "efficiency: 1},\n"
         "       nics: {count: 2, bandwidth: 200 Gb/s},\n"
         "       nccl: {channels: 12, channel_intra: 20 GB/s, channels_inter: 2,\n"
         "              channel_inter: 24 GB/s, multiprocessors: 108, source: test}}}\n";
}

Job job_of(const Setting& strategy, const Condition& condition, const std::string& communication,
           const std::vector<std::string>& overrides = {}) {
  const std::string all_nodes = condition.mixed ? nodes("a100-sxm4-80gb", 4) + nodes("h100-sxm5", 4)
                                                : nodes("a100-sxm4-80gb", 8);
  const std::string yaml =
      "model: {family: gpt, hidden: 1024, layers: 4, heads: 8, vocab: 4096, max_sequence: 256}\n"
      "cluster:\n"
      "  nodes:\n" +
      all_nodes + "  fabric: " + condition.fabric + "\n  communication: " + communication +
      "\n  overrides: " + condition.overrides +
      "\n"
      "gpus: 16\n"
      "batch: {global: 32, micro: 1, sequence: 256}\n"
      "precision: {compute: bf16, gradients: fp32}\n"
      "stragglers: " +
      condition.stragglers + "\n" + strategy.yaml;
  return load_job_text(yaml, WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml", overrides);
}

Trace trace_of(const Job& job, Fidelity fidelity, NetworkKind network = NetworkKind::SimGrid) {
  Conditions conditions = conditions_of(job);
  conditions.fidelity = fidelity;
  conditions.network = network;
  return simulate(build_plan(job), build_cluster(job.cluster, job.gpus), conditions);
}
double time_of(const Job& job, Fidelity fidelity, NetworkKind network = NetworkKind::SimGrid) {
  return trace_of(job, fidelity, network).end.value;
}

std::map<int, Span> by_op(const RankTrace& rank) {
  std::map<int, Span> spans;
  for (const Span& span : rank.spans) spans[span.op] = span;
  return spans;
}

// A model so large that kernels, not collectives, make up most of the step.
const std::vector<std::string> kLarge = {"model.hidden=4096", "model.max_sequence=2048",
                                         "batch={global: 128, micro: 4, sequence: 2048}"};

// Every rank of `some` did what the same rank of `every` did, at the same times.
void check_same(const Trace& some, const Trace& every) {
  CHECK(some.end.value == Approx(every.end.value).epsilon(1e-9));
  const double margin = 1e-9 * every.end.value;
  int represented = 0, wrong = 0;
  for (const RankTrace& rank : some.ranks) {
    represented += rank.represented;
    REQUIRE(every.ranks[std::size_t(rank.rank)].rank == rank.rank);
    const auto spans = by_op(rank), expected = by_op(every.ranks[std::size_t(rank.rank)]);
    REQUIRE(spans.size() == expected.size());
    for (const auto& [op, span] : expected) {
      const Span& other = spans.at(op);
      for (const auto& [a, b] : {std::pair(span.start, other.start), std::pair(span.end, other.end),
                                 std::pair(span.communication, other.communication),
                                 std::pair(span.recompute, other.recompute)})
        if (std::abs(a.value - b.value) > margin) ++wrong;
    }
  }
  CHECK(wrong == 0);
  CHECK(represented == int(every.ranks.size()));
}

void check_fidelities(const std::string& communication) {
  for (const Setting& strategy : kStrategies)
    for (const Condition& condition : kConditions) {
      INFO(strategy.name << ", " << condition.name << ", " << communication);
      const Job job = job_of(strategy, condition, communication);
      const Trace full = trace_of(job, Fidelity::Full);
      REQUIRE(full.ranks.size() == 16);
      check_same(trace_of(job, Fidelity::Stage), full);
      check_same(trace_of(job, Fidelity::Folded), full);
    }
}

}  // namespace

TEST_CASE("fidelity: folded, stage and full agree under every condition, ring") {
  check_fidelities(kAlphaBeta);
}

TEST_CASE("fidelity: folded, stage and full agree under every condition, NCCL's model") {
  check_fidelities(kNccl);
}

TEST_CASE("fidelity: folding simulates fewer ranks where ranks are alike") {
  for (const Setting& strategy : kStrategies) {
    INFO(strategy.name);
    const Job job = job_of(strategy, kConditions.front(), kAlphaBeta);
    // Ranks of one pipeline coordinate are alike: on this switch nothing tells them apart.
    CHECK(trace_of(job, Fidelity::Folded).ranks.size() == std::size_t(job.parallel.pipeline));
  }
}

TEST_CASE("fidelity: a straggler makes the step longer") {
  // Kernels of rank 5 take half as long again. Whoever waits for it, its own kernels alone then
  // take 1.5 times those of a rank without disturbance; all others go on as before.
  for (const Setting& strategy : kStrategies)
    for (const std::string& communication : {kAlphaBeta, kNccl}) {
      INFO(strategy.name << ", " << communication);
      const double without =
          time_of(job_of(strategy, kConditions[0], communication, kLarge), Fidelity::Folded);
      const double with =
          time_of(job_of(strategy, kConditions[1], communication, kLarge), Fidelity::Folded);
      CHECK(with > without * 1.01);
      CHECK(with < without * 1.5);
    }
}

TEST_CASE("fidelity: rounds agree with full for rings that nothing competes with") {
  for (const Setting& strategy : kStrategies) {
    if (strategy.name.starts_with("data") || strategy.name.starts_with("zero 2") ||
        strategy.name == "zero 3")
      for (const std::size_t condition : {0, 1, 4}) {
        INFO(strategy.name << ", " << kConditions[condition].name);
        const Job job = job_of(strategy, kConditions[condition], kAlphaBeta);
        CHECK(time_of(job, Fidelity::Rounds) == Approx(time_of(job, Fidelity::Full)).epsilon(1e-7));
      }
  }
}

TEST_CASE("fidelity: contention only ever takes time") {
  bool slower = false;
  for (const Setting& strategy : kStrategies)
    for (const Condition& condition : kConditions) {
      INFO(strategy.name << ", " << condition.name);
      const Job job = job_of(strategy, condition, kAlphaBeta);
      const double shared = time_of(job, Fidelity::Full);
      const double alone = time_of(job, Fidelity::Full, NetworkKind::ContentionFree);
      CHECK(alone <= shared * (1 + 1e-9));
      slower = slower || alone < shared * 0.99;
      // One ring at a time, on a switch: nothing is shared.
      if (strategy.name.starts_with("data, ") && condition.name == "homogeneous")
        CHECK(alone == Approx(shared).epsilon(1e-9));
    }
  CHECK(slower);  // some of these jobs do contend
}

TEST_CASE("fidelity: noise of one seed is not that of the next on other ranks") {
  // The slowest of 16 ranks sets the step, so seeds whose noise is the same but for one rank would
  // mostly give the same step.
  std::vector<double> times;
  for (const int seed : {1, 2, 3, 4}) {
    std::vector<std::string> overrides = kLarge;
    overrides.push_back("noise={seed: " + std::to_string(seed) + ", amplitude: 10 %}");
    times.push_back(
        time_of(job_of(kStrategies[0], kConditions[0], kAlphaBeta, overrides), Fidelity::Full));
  }
  for (std::size_t i = 0; i < times.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(times[i] != Approx(times[j]).epsilon(1e-6));
}

TEST_CASE("fidelity: noise depends on its seed and nothing else") {
  for (const std::size_t strategy : {0, 5, 11, 18}) {
    INFO(kStrategies[strategy].name);
    const auto noisy = [&](const std::string& noise) {
      std::vector<std::string> overrides = kLarge;
      overrides.push_back("noise=" + noise);
      return job_of(kStrategies[strategy], kConditions[0], kAlphaBeta, overrides);
    };
    const Job first = noisy("{seed: 1, amplitude: 10 %}");
    const double time = time_of(first, Fidelity::Full);
    CHECK(time_of(noisy("{seed: 1, amplitude: 10 %}"), Fidelity::Full) ==
          Approx(time).epsilon(1e-12));
    CHECK(time_of(noisy("{seed: 2, amplitude: 10 %}"), Fidelity::Full) !=
          Approx(time).epsilon(1e-6));
    CHECK(time_of(first, Fidelity::Folded) == Approx(time).epsilon(1e-9));
    CHECK(time_of(first, Fidelity::Stage) == Approx(time).epsilon(1e-9));
    // No noise is no noise, at every fidelity.
    const Job none = job_of(kStrategies[strategy], kConditions[0], kAlphaBeta, kLarge);
    const Job silent = noisy("{seed: 1, amplitude: 0 %}");
    for (const Fidelity fidelity : {Fidelity::Folded, Fidelity::Full})
      CHECK(time_of(silent, fidelity) == Approx(time_of(none, fidelity)).epsilon(1e-12));
    CHECK(trace_of(silent, Fidelity::Folded).ranks.size() ==
          trace_of(none, Fidelity::Folded).ranks.size());
    // Kernels scaled by at most 1 +- a scale the step by no more, as ops start in a fixed order.
    const double quiet = time_of(none, Fidelity::Full, NetworkKind::ContentionFree);
    const double loud = time_of(first, Fidelity::Full, NetworkKind::ContentionFree);
    CHECK(loud > quiet * 0.9);
    CHECK(loud < quiet * 1.1);
    CHECK(loud != Approx(quiet).epsilon(1e-6));
  }
}

}  // namespace windtunnel

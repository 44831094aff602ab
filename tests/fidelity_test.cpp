// One step simulated in several ways must take the same time: folded, one span for an action
// (stage), every layer operation (full); and by rounds where nothing competes. Every strategy under
// every condition, by the command line's own path from YAML to Trace.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "engine/quiet_part.hpp"
#include "engine/simulate.hpp"
#include "strategies.hpp"

namespace windtunnel {

namespace {

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

TEST_CASE("fidelity: the quiet part of every rank ends before any collective that is an op") {
  int quiet = 0;
  for (const Setting& strategy : kStrategies)
    for (const char* condition : {"homogeneous", "degraded NIC"}) {
      INFO(strategy.name << ", " << condition);
      const auto found = std::find_if(kConditions.begin(), kConditions.end(),
                                      [&](const Condition& c) { return c.name == condition; });
      REQUIRE(found != kConditions.end());
      const Job job = job_of(strategy, *found, kNccl);
      const Plan plan = build_plan(job);
      const std::vector<int> until = quiet_until(plan);
      Seconds last, first(1e300);
      for (const RankTrace& rank : trace_of(job, Fidelity::Full).ranks)
        for (const Span& span : rank.spans) {
          const Op& op = plan.programs[std::size_t(rank.program)].ops[std::size_t(span.op)];
          if (op.kind == OpKind::Collective) first = std::min(first, span.start);
          if (op.kind == OpKind::Compute && span.op <= until[std::size_t(rank.program)]) {
            last = std::max(last, span.end);
            ++quiet;
          }
        }
      CHECK(last <= first);
    }
  CHECK(quiet > 1000);
}

TEST_CASE("fidelity: folded, stage and full agree under every condition, ring") {
  check_fidelities(kAlphaBeta);
}

TEST_CASE("fidelity: folded, stage and full agree under every condition, NCCL's model") {
  check_fidelities(kNccl);
}

TEST_CASE("fidelity: folded, stage and full agree with Gloo, rendezvous and copies") {
  // The first, a middle and the last condition: it is the mechanisms that differ here.
  bool slower = false;
  const std::string gloo =
      "{model: gloo, operation_latency: 30 us, segment_latency: 21 us, source: test, "
      "point_to_point: rendezvous, receives_ahead: ";
  for (const Setting& strategy : kStrategies)
    for (const std::size_t condition : {std::size_t(0), std::size_t(3), kConditions.size() - 1})
      for (const std::string ahead : {"0}", "1}"}) {
        if (strategy.yaml.find("blocking") != std::string::npos)
          continue;  // refused with rendezvous
        INFO(strategy.name << ", " << kConditions[condition].name << ", ahead " << ahead);
        Job job = job_of(strategy, kConditions[condition], gloo + ahead);
        job.cluster.communication.cpu_seconds_per_byte = 0.7e-9;
        const Trace full = trace_of(job, Fidelity::Full);
        check_same(trace_of(job, Fidelity::Stage), full);
        check_same(trace_of(job, Fidelity::Folded), full);
        job.cluster.communication.cpu_seconds_per_byte = 0;
        const double without = time_of(job, Fidelity::Folded);
        CHECK(without <= full.end.value * (1 + 1e-9));
        slower = slower || without < full.end.value * 0.999;
      }
  CHECK(slower);  // some of these jobs compute beside communication
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

// Collectives slow down the kernels that run beside them: by the multiprocessors that they take, or
// as a profile has measured it.
#include <algorithm>
#include <string>

#include "catch.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"

using namespace windtunnel;

namespace {

// Two GPUs of one node, 12 channels: a collective takes 24 of 96 multiprocessors, a quarter.
const std::string kJob =
    "model: {family: synthetic, parameters: 1, layers: 1, forward: 1 us, backward_input: 1 us, "
    "backward_weight: 1 us, message: 1 B, activation: 1 B, layer_bytes: 4 B}\n"
    "cluster:\n"
    "  nodes:\n"
    "    - {count: 1, type: {gpu: ../topologies/gpus/a100-sxm4-80gb.yaml, gpus: 2,\n"
    "       interconnect: {family: nvlink_switch, bandwidth: 300 GB/s, latency: 2 us,\n"
    "                      efficiency: 1},\n"
    "       nccl: {channels: 12, channel_intra: 20 GB/s, channels_inter: 2,\n"
    "              channel_inter: 24 GB/s, multiprocessors: 96, source: test}}}\n"
    "  communication: {model: nccl}\n"
    "gpus: 2\n"
    "parallel: {data: 2}\n"
    "batch: {global: 2, micro: 1}\n";

// A kernel that takes so many seconds.
BlockPiece kernel(double seconds) {
  return {
      .piece = {"kernel", Work{.op = OpClass::Fixed, .kernels = 0, .duration = Seconds(seconds)}}};
}
// A kernel that moves so many bytes.
BlockPiece copy(double bytes) {
  return {.piece = {"copy", Work{.op = OpClass::Elementwise, .bytes = Bytes(bytes)}}};
}

// A block on the compute stream beside an all-reduce that begins at the same time.
Trace trace_of(const Block& block, double bytes, Fidelity fidelity, const Job& job) {
  Plan plan;
  plan.grid = {.tensor = 1, .data = 2, .pipeline = 1};
  plan.grid.shard_ranks = 2;
  plan.blocks = {block};
  Program program;
  if (bytes > 0)
    program.ops.push_back({.kind = OpKind::Collective,
                           .stream = Stream::Communication,
                           .purpose = Purpose::GradientReduction,
                           .group = GroupKind::Data,
                           .collective = CollectiveKind::AllReduce,
                           .bytes = Bytes(bytes)});
  if (!block.empty()) program.ops.push_back({.block = 0});
  plan.programs = {program};
  return simulate(plan, build_cluster(job.cluster, job.gpus),
                  {.fidelity = fidelity, .measured = measured_times(job)});
}

Job job() {
  return load_job_text(kJob, WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml");
}

// `kernels` seconds of one kernel.
Trace trace_of(double kernels, double bytes, Fidelity fidelity) {
  return trace_of(kernels > 0 ? Block{kernel(kernels)} : Block{}, bytes, fidelity, job());
}

constexpr Fidelity kAll[] = {Fidelity::Folded, Fidelity::Stage, Fidelity::Full, Fidelity::Rounds};

}  // namespace

TEST_CASE("kernels run at three quarters of their speed while a collective runs") {
  const double bytes = 1e9;
  for (const Fidelity fidelity : kAll) {
    INFO(kFidelityNames[std::size_t(fidelity)]);
    const double collective = trace_of(0, bytes, fidelity).end.value;
    REQUIRE(collective > 1e-3);
    // Kernels that outlast it: what they lost while it ran comes on top, a quarter of its time.
    CHECK(trace_of(2 * collective, bytes, fidelity).end.value ==
          Approx(2.25 * collective).epsilon(1e-9));
    // Kernels that end before it: a third longer.
    const Trace inside = trace_of(0.6 * collective, bytes, fidelity);
    CHECK(inside.end.value == Approx(collective).epsilon(1e-9));
    const auto& spans = inside.ranks.front().spans;
    const auto kernel =
        std::find_if(spans.begin(), spans.end(), [](const Span& span) { return span.op == 1; });
    REQUIRE(kernel != spans.end());
    CHECK(kernel->end.value == Approx(0.6 * collective / 0.75).epsilon(1e-9));
  }
  // Without a collective nothing is slower.
  CHECK(trace_of(0.5, 0, Fidelity::Full).end.value == Approx(0.5).epsilon(1e-12));
}

TEST_CASE("kernels take as long beside a collective as the profile has measured") {
  Job measured = job();
  measured.profile = Profile{.name = "test", .source = "made up", .date = "2026-11-23"};
  measured.profile->slowdowns = {{4, 1, {3, 0}, {3, 0}},  // another group
                                 {2, 1, {1.25, 0.01}, {2, 0.01}}};
  const double bytes = 1e9, moved = 2e9;
  for (const Fidelity fidelity : kAll) {
    INFO(kFidelityNames[std::size_t(fidelity)]);
    const auto end = [&](const Block& block, double sent) {
      return trace_of(block, sent, fidelity, measured).end.value;
    };
    const auto kernels_end = [&](const Block& block) {
      const Trace trace = trace_of(block, bytes, fidelity, measured);
      const auto& spans = trace.ranks.front().spans;
      const auto found =
          std::find_if(spans.begin(), spans.end(), [](const Span& span) { return span.op == 1; });
      REQUIRE(found != spans.end());
      REQUIRE(found->end.value < trace.end.value);
      return found->end.value;
    };
    const double collective = end({}, bytes), copied = end({copy(moved)}, 0);
    const double some = 0.1 * collective;
    REQUIRE(2 * copied + 1.25 * some < collective);
    // Beside it for all of their time.
    CHECK(kernels_end({kernel(some)}) == Approx(1.25 * some).epsilon(1e-9));
    CHECK(kernels_end({copy(moved)}) == Approx(2 * copied).epsilon(1e-9));
    CHECK(kernels_end({kernel(some), copy(moved)}) ==
          Approx(1.25 * some + 2 * copied).epsilon(1e-9));
    // GEMMs that outlast it lose a fifth of its time: 1 - 1 / 1.25.
    CHECK(end({kernel(2 * collective)}, bytes) == Approx(2.2 * collective).epsilon(1e-9));
  }
  // Of a group that was not measured the multiprocessors count, and so they do without compute of
  // its own.
  const auto outlasting = [&](const Job& of) {
    const double collective = trace_of({}, bytes, Fidelity::Full, of).end.value;
    return trace_of({kernel(2 * collective)}, bytes, Fidelity::Full, of).end.value / collective;
  };
  measured.compute = ComputeMode::Emulated;
  CHECK(outlasting(measured) == Approx(2.25).epsilon(1e-9));
  measured.compute = ComputeMode::Real;
  measured.profile->slowdowns.pop_back();
  CHECK(outlasting(measured) == Approx(2.25).epsilon(1e-9));
}

TEST_CASE("what copies of a collective cost is in the measured slowdown") {
  Job measured = job();
  measured.profile = Profile{.name = "test", .source = "made up", .date = "2026-11-23"};
  measured.profile->slowdowns = {{2, 1, {1.25, 0}, {1.25, 0}}};
  // An op of compute after the one beside the all-reduce would begin by copying.
  const double bytes = 1e9;
  const double alone = trace_of({}, bytes, Fidelity::Full, measured).end.value;
  const auto end = [&](double per_byte) {
    Job with_copies = measured;
    with_copies.cluster.communication.cpu_seconds_per_byte = per_byte;
    Plan plan;
    plan.grid = {.tensor = 1, .data = 2, .pipeline = 1};
    plan.grid.shard_ranks = 2;
    plan.blocks = {{kernel(2 * alone)}, {kernel(alone)}};
    plan.programs = {{.ops = {{.kind = OpKind::Collective,
                               .stream = Stream::Communication,
                               .purpose = Purpose::GradientReduction,
                               .group = GroupKind::Data,
                               .collective = CollectiveKind::AllReduce,
                               .bytes = Bytes(bytes)},
                              {.block = 0},
                              {.block = 1}}}};
    return simulate(plan, build_cluster(with_copies.cluster, with_copies.gpus),
                    {.fidelity = Fidelity::Full, .measured = measured_times(with_copies)})
        .end.value;
  };
  CHECK(end(1e-9) == Approx(3.2 * alone).epsilon(1e-9));
  // Not measured: half of 2 x (n - 1) / n of the bytes is sent, and as much received.
  measured.profile->slowdowns.clear();
  CHECK(end(1e-9) == Approx(3.25 * alone + 1e-9 * bytes).epsilon(1e-9));
}

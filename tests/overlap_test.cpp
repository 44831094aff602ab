// Collectives take multiprocessors from the kernels that run beside them.
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

// `kernels` seconds on the compute stream beside an all-reduce that begins at the same time.
Trace trace_of(double kernels, double bytes, Fidelity fidelity) {
  const Job job = load_job_text(kJob, WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml");
  Plan plan;
  plan.grid = {.tensor = 1, .data = 2, .pipeline = 1};
  plan.grid.shard_ranks = 2;
  plan.blocks = {{BlockPiece{
      .piece = {"kernel",
                Work{.op = OpClass::Fixed, .kernels = 0, .duration = Seconds(kernels)}}}}};
  Program program;
  if (bytes > 0)
    program.ops.push_back({.kind = OpKind::Collective,
                           .stream = Stream::Communication,
                           .purpose = Purpose::GradientReduction,
                           .group = GroupKind::Data,
                           .collective = CollectiveKind::AllReduce,
                           .bytes = Bytes(bytes)});
  if (kernels > 0) program.ops.push_back({.block = 0});
  plan.programs = {program};
  return simulate(plan, build_cluster(job.cluster, job.gpus), {.fidelity = fidelity});
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

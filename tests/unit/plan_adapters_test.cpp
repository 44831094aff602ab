// Plans of models whose own weights are frozen: gradients, optimizer and reductions are of the
// adapters alone, weights are of everything.
#include "catch.hpp"
#include "jobs.hpp"
#include "unit/plan_graph.hpp"

namespace windtunnel {
namespace {

// Blocks of h (h + 2 g) + h h + 3 h f + 2 h, words of V h twice and a norm of h.
constexpr double kBlock = 64 * 128 + 64 * 64 + 3 * 64 * 96 + 2 * 64, kEnds = 2 * 512 * 64 + 64;
constexpr double kAdapters = 8 * (64 + 128) + 8 * (64 + 64);  // of a block

Job adapted(const Parallelism& parallel) {
  Job job = job_of(with_adapters(llama_values(64, 4, 96, 8, 4, 512), 8,
                                 {{"lora_qkv", {1}}, {"lora_projection", {1}}}),
                   parallel, 2);
  job.batch.sequence = 8;
  return job;
}

double reduced(const Program& program, CollectiveKind kind) {
  double bytes = 0;
  for (const Op& op : program.ops)
    if (is_collective(op, Purpose::GradientReduction) && op.collective == kind)
      bytes += op.bytes.value;
  return bytes;
}

}  // namespace

TEST_CASE("adapters: only theirs are gradients, optimizer states and reductions") {
  const Job job = adapted({.data = 2});
  const Program program = build_plan(job).programs.front();
  CHECK(double(program.parameters) == 4 * (kBlock + kAdapters) + kEnds);
  CHECK(of(program.at_start, MemoryKind::Weights).value == 2 * (4 * (kBlock + kAdapters) + kEnds));
  CHECK(of(program.at_start, MemoryKind::Gradients).value ==
        bytes_of(job.precision.gradients) * 4 * kAdapters);
  CHECK(of(program.at_start, MemoryKind::Optimizer).value == 12 * 4 * kAdapters);
  CHECK(reduced(program, CollectiveKind::AllReduce) ==
        bytes_of(job.precision.gradients) * 4 * kAdapters);
}

TEST_CASE("adapters: frozen fp8 blocks are kept once in fp8, both ends in bf16") {
  Job job = adapted({.data = 2});
  job.precision.compute = DType::Fp8;
  const Program program = build_plan(job).programs.front();
  CHECK(of(program.at_start, MemoryKind::Weights).value ==
        4 * kBlock + 2 * kEnds + 2 * 4 * kAdapters);
}

TEST_CASE("adapters: ZeRO-1 gathers theirs, ZeRO-3 everything") {
  for (const int stage : {1, 3}) {
    const Job job = adapted({.data = 2, .zero_stage = stage});
    const Program program = build_plan(job).programs.front();
    double gathered = 0;
    for (const Op& op : program.ops)
      if (is_collective(op, Purpose::ParameterGather)) gathered += op.bytes.value;
    const double all = 2 * (4 * (kBlock + kAdapters) + kEnds);
    // ZeRO-3: for each of two micro-batches before its forward and before its backward pass, but
    // for the head, whose backward pass follows its forward pass.
    const double head = 2 * (512 * 64 + 64);
    CHECK(gathered == (stage == 1 ? 2 * 4 * kAdapters : 4 * all - 2 * head));
    CHECK(of(program.at_start, MemoryKind::Optimizer).value == 12 * 4 * kAdapters / 2);
    CHECK(of(program.at_start, MemoryKind::Weights).value == (stage == 3 ? all / 2 : all));
  }
}

TEST_CASE("adapters: a stage of frozen layers alone reduces nothing") {
  // The embedding and one block, then three blocks, or the embedding by itself.
  Job job = adapted({.data = 2, .pipeline = 2});
  job.layers_per_stage = {1, 5};
  const Plan plan = build_plan(job);
  CHECK(reduced(plan.programs[0], CollectiveKind::AllReduce) == 0);
  CHECK(reduced(plan.programs[1], CollectiveKind::AllReduce) ==
        bytes_of(job.precision.gradients) * 4 * kAdapters);
}

// The embedding's backward pass reduces nothing whose end the next gather could wait for.
TEST_CASE("adapters: frozen weights are gathered again after they have been freed") {
  const Program program = build_plan(adapted({.data = 2, .zero_stage = 3})).programs.front();
  const Ancestors before(program);
  int pairs = 0;
  for (std::size_t gather = 0; gather < program.ops.size(); ++gather) {
    const Op& op = program.ops[gather];
    if (!is_collective(op, Purpose::ParameterGather)) continue;
    for (std::size_t earlier = 0; earlier < gather; ++earlier) {
      const Op& compute = program.ops[earlier];
      if (!compute.releases_weights || !covers(compute, op.first_layer)) continue;
      CHECK(before.contains(gather, earlier));
      ++pairs;
    }
  }
  CHECK(pairs > 0);
}

}  // namespace windtunnel

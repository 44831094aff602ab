// Which ranks hold which parameters and sum which gradients, with experts and with shared samples.
// A block of the model: S parameters that are no experts', X in its experts.
#include "catch.hpp"
#include "jobs.hpp"

namespace windtunnel {
namespace {

// h = 64, f = 32, 4 heads, 8 experts: X = 8 x 3 x 64 x 32 = 49152 in each of 2 blocks. Embedding
// and head 100 x 64 each, head's norm 64. S = 4 x 64 x 64 + 2 x 64 + 8 x 64 = 17024.
constexpr std::int64_t kExperts = 2 * 49152, kOthers = 2 * 17024 + 2 * 6400 + 64;

Job mixture_job(const Parallelism& parallel) {
  Job job = job_of(mixture(64, 2, 32, 4, 4, 100, 8, 2), parallel);
  job.attention = AttentionKernel::Flash;
  job.precision = {DType::Bf16, DType::Fp32};
  job.batch.sequence = 64;
  return job;
}

Bytes volume(const Program& program, GroupKind group, CollectiveKind kind) {
  return collective_volume(program, group, kind).bytes;
}

using enum CollectiveKind;

}  // namespace

TEST_CASE("experts: a rank holds its part of them and all of the rest") {
  const auto parameters = [](const Parallelism& parallel) {
    return build_plan(mixture_job(parallel)).programs.front().parameters;
  };
  CHECK(parameters({}) == kOthers + kExperts);
  CHECK(parameters({.data = 8}) == kOthers + kExperts);
  CHECK(parameters({.data = 8, .expert = 4}) == kOthers + kExperts / 4);
  CHECK(parameters({.data = 8, .expert = 4, .expert_tensor = 2}) == kOthers + kExperts / 8);
}

TEST_CASE("experts: their gradients are summed over the ranks that hold the same ones") {
  // 8 ranks, experts over 4 of them: 2 hold the same.
  Job job = mixture_job({.data = 8, .expert = 4});
  Plan plan = build_plan(job);
  CHECK(volume(plan.programs[0], GroupKind::Data, AllReduce) == Bytes(4.0 * kOthers));
  CHECK(volume(plan.programs[0], GroupKind::ExpertData, AllReduce) == Bytes(4.0 * kExperts / 4));
  CHECK(plan.grid.members(GroupKind::ExpertData, 1) == std::vector<int>{1, 5});
  // Over all 8: nobody holds the same, nothing is summed.
  job = mixture_job({.data = 8, .expert = 8});
  plan = build_plan(job);
  CHECK(volume(plan.programs[0], GroupKind::Data, AllReduce) == Bytes(4.0 * kOthers));
  CHECK(collective_volume(plan.programs[0], GroupKind::ExpertData, AllReduce).count == 0);
  // Over none: they are as all other weights.
  plan = build_plan(mixture_job({.data = 8}));
  CHECK(volume(plan.programs[0], GroupKind::Data, AllReduce) == Bytes(4.0 * (kOthers + kExperts)));
}

TEST_CASE("experts: ZeRO shards them over the ranks that hold the same ones") {
  for (const int zero : {1, 2}) {
    const Plan plan = build_plan(mixture_job({.data = 8, .expert = 4, .zero_stage = zero}));
    const Program& program = plan.programs.front();
    // Adam and an fp32 copy of the weights: 12 bytes for each parameter held.
    const double held = kOthers / 8.0 + kExperts / 4.0 / 2;
    CHECK(of(program.at_start, MemoryKind::Optimizer) == Bytes(12 * held));
    const double gradients = zero == 2 ? held : kOthers + kExperts / 4.0;
    CHECK(of(program.at_start, MemoryKind::Gradients) == Bytes(4 * gradients));
    CHECK(of(program.at_start, MemoryKind::Weights) == Bytes(2 * (kOthers + kExperts / 4.0)));
    CHECK(volume(program, GroupKind::Data, ReduceScatter) == Bytes(4.0 * kOthers));
    CHECK(volume(program, GroupKind::ExpertData, ReduceScatter) == Bytes(4.0 * kExperts / 4));
    CHECK(volume(program, GroupKind::Data, AllGather) == Bytes(2.0 * kOthers));
    CHECK(volume(program, GroupKind::ExpertData, AllGather) == Bytes(2.0 * kExperts / 4));
    // All buffers are given back.
    double buffers = 0;
    for (const Op& op : program.ops)
      for (const auto* changes : {&op.on_start, &op.on_end})
        for (const MemoryChange& change : *changes)
          if (change.kind == MemoryKind::Buffers) buffers += change.bytes;
    CHECK(buffers == 0);
  }
}

TEST_CASE("experts: the gradient norm is summed over all that hold different ones") {
  const auto group_of_norm = [](const Parallelism& parallel) {
    const Plan plan = build_plan(mixture_job(parallel));
    for (const Op& op : plan.programs.front().ops)
      if (is_collective(op, Purpose::NormReduction)) return op.group.kind;
    return GroupKind::Listed;
  };
  CHECK(group_of_norm({.data = 4}) == GroupKind::Listed);  // every rank has all gradients
  CHECK(group_of_norm({.data = 4, .expert = 2}) == GroupKind::World);
}

TEST_CASE("context: ranks that share a sample sum gradients and shard states as data ranks do") {
  Job job = mixture_job({.data = 2, .context = 4, .zero_stage = 1});
  const Plan plan = build_plan(job);
  CHECK(plan.grid.data == 8);
  CHECK(plan.grid.size() == 8);
  CHECK(job.micro_batches() == 1);
  const Program& program = plan.programs.front();
  CHECK(of(program.at_start, MemoryKind::Optimizer) == Bytes(12.0 * (kOthers + kExperts) / 8));
  CHECK(volume(program, GroupKind::Data, ReduceScatter) == Bytes(4.0 * (kOthers + kExperts)));
  CHECK(plan.grid.members(GroupKind::Context, 5) == std::vector<int>{4, 5, 6, 7});
}

TEST_CASE("experts and context: a layer's collectives name their groups in the plan") {
  const Plan plan = build_plan(mixture_job({.data = 2, .context = 2, .expert = 4}));
  int experts = 0, context = 0;
  for (const Block& block : plan.blocks)
    for (const BlockPiece& piece : block)
      if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what)) {
        experts += group_kind(collective->group) == GroupKind::Expert;
        context += group_kind(collective->group) == GroupKind::Context;
      }
  CHECK(experts == 2 * 4);  // blocks x (dispatch, combine, and back)
  CHECK(context == 2 * 3);  // keys out twice, their gradients back
}

TEST_CASE("experts and context: the plan's text says how ranks are laid out for them") {
  const std::string text = to_text(build_plan(mixture_job({.data = 2, .context = 2, .expert = 2})));
  CHECK(text.starts_with(
      "4 ranks: tensor 1 x data 4 x pipeline 1, order tensor data pipeline (fastest first)\n"
      "1 stages, 1 micro-batches\n"
      "context: 2 data ranks share a sample\n"
      "experts: expert tensor 1 x expert 2 x expert data 2\n"));
}

}  // namespace windtunnel

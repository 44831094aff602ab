// What must hold in every plan: it runs to its end, and each layer in its order on its rank.
#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "catch.hpp"
#include "unit/plan_cases.hpp"
#include "unit/plan_graph.hpp"

namespace windtunnel {

TEST_CASE("structure: the cases are many and plans of all of them run to the end") {
  // 8 schedules: 23 variations of tied gpt in 3 shapes; in one, of untied gpt, and the 21 of the
  // uneven model, which has no tensor parallelism.
  CHECK(plan_cases().size() == 8 * (3 * 23 + 23 + 21));
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const Plan plan = build_plan(some.job);
    CHECK(UntimedRun(plan).stop() == "");
    CHECK(plan.programs.size() == std::size_t(some.job.parallel.pipeline));
  }
}

TEST_CASE("structure: `after` refers to other ops of the program and closes no cycle") {
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    for (const Program& program : build_plan(some.job).programs) {
      const int size = int(program.ops.size());
      bool in_range = true;
      for (int i = 0; i < size; ++i)
        for (const int before : program.ops[std::size_t(i)].after)
          in_range &= before >= 0 && before < size && before != i;
      REQUIRE(in_range);
      CHECK_FALSE(Ancestors(program).has_cycle());
    }
  }
}

TEST_CASE("structure: each layer runs each pass once a micro-batch, on the rank of its stage") {
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const Plan plan = build_plan(some.job);
    const bool splits = find_schedule(some.job.schedule)->splits_backward;
    const int layers = int(some.job.model.layers.size());
    std::map<std::tuple<Purpose, int, int>, int> runs;
    bool on_own_rank = true, blocks_match = true;
    for (const Program& program : plan.programs)
      for (const Op& op : program.ops) {
        if (!is_pass(op)) continue;
        on_own_rank &= plan.schedule.device_of_stage[std::size_t(op.stage)] == program.pipeline;
        for (int layer = op.first_layer; layer < op.end_layer; ++layer)
          ++runs[{op.purpose, layer, op.micro_batch}];
        for (const BlockPiece& piece : plan.blocks[std::size_t(op.block)])
          blocks_match &= covers(op, piece.layer);
      }
    const std::size_t passes = splits ? 3 : 2;
    CHECK(runs.size() == passes * std::size_t(layers * some.job.micro_batches()));
    CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& run) { return run.second == 1; }));
    CHECK(runs.contains({Purpose::Backward, 0, 0}) == !splits);
    CHECK(on_own_rank);
    CHECK(blocks_match);
  }
}

TEST_CASE("structure: layers of a pass follow each other, forward up and backward down") {
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    bool in_order = true;
    for (const Program& program : build_plan(some.job).programs) {
      std::optional<Op> before;
      for (const Op& op : program.ops) {
        if (!is_pass(op)) continue;
        if (before && before->stage == op.stage && before->micro_batch == op.micro_batch &&
            before->purpose == op.purpose)
          in_order &= op.purpose == Purpose::Forward ? before->end_layer == op.first_layer
                                                     : op.end_layer == before->first_layer;
        before = op;
      }
    }
    CHECK(in_order);
  }
}

TEST_CASE("structure: Adam of separate operators runs them for every tensor") {
  // A BERT of 2 blocks has 5 + 2 x 12 + 9 = 38 tensors, the tied words counted once.
  const Model model = model_of("bert", {{"layers", {2}},
                                        {"hidden", {64}},
                                        {"heads", {4}},
                                        {"vocab", {128}},
                                        {"max_sequence", {32}},
                                        {"token_types", {2}}});
  const auto update = [&](std::string_view software, DType type, OptimizerKind optimizer) {
    Job job = job_of(model, {});
    job.batch.sequence = 32;
    job.software = find_software(software);
    job.optimizer = optimizer;
    job.precision = {type, type};
    const Plan plan = build_plan(job);
    for (const Op& op : plan.programs.front().ops)
      if (op.purpose == Purpose::Optimizer)
        for (const BlockPiece& piece : plan.blocks[std::size_t(op.block)])
          if (piece.piece.name == kOptimizerName) return std::get<Work>(piece.piece.what);
    return Work{};
  };
  const double parameters = double(model.parameter_count());
  const auto adam = OptimizerKind::Adam, sgd = OptimizerKind::Sgd;
  CHECK(update("tensorflow1", DType::Fp32, adam).kernels == 38 * 15);
  CHECK(update("tensorflow1", DType::Fp32, adam).bytes == Bytes(140 * parameters));
  CHECK(update("tensorflow1", DType::Fp16, adam).kernels == 38 * 20);
  CHECK(update("tensorflow1", DType::Fp16, adam).bytes == Bytes(166 * parameters));
  CHECK(update("paddle", DType::Fp32, adam).kernels == 38 * 8);
  CHECK(update("paddle", DType::Fp32, adam).bytes == Bytes(88 * parameters));
  CHECK(update("paddle", DType::Fp16, adam).kernels == 38 * 12);
  CHECK(update("paddle", DType::Fp16, adam).bytes == Bytes(112 * parameters));
  // Elsewhere one kernel: gradient and three fp32 values read, the latter written; for momentum
  // two.
  CHECK(update("oneflow", DType::Fp32, adam).kernels == 1);
  CHECK(update("oneflow", DType::Fp32, adam).bytes == Bytes(28 * parameters));
  CHECK(update("tensorflow1", DType::Fp32, sgd).bytes == Bytes(20 * parameters));
}

TEST_CASE("structure: the optimizer comes last but for the gathers of its new weights") {
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const Job& job = some.job;
    for (const Program& program : build_plan(job).programs) {
      const Ancestors before(program);
      std::vector<std::size_t> singles;
      for (std::size_t i = 0; i < program.ops.size(); ++i)
        if (program.ops[i].kind == OpKind::Compute && program.ops[i].purpose == Purpose::Optimizer)
          singles.push_back(i);
      const bool steps = job.optimizer != OptimizerKind::None;
      REQUIRE(singles.size() == std::size_t(job.gradient_clipping) + std::size_t(steps));
      bool is_last = true;
      for (const std::size_t single : singles)
        for (std::size_t i = 0; i < program.ops.size(); ++i) {
          const Op& op = program.ops[i];
          const bool gives_gradients = computes_weight_gradient(op) ||
                                       op.purpose == Purpose::GradientReduction ||
                                       op.purpose == Purpose::ReplicatedReduction ||
                                       op.purpose == Purpose::EmbeddingReduction;
          if (gives_gradients) is_last &= before.contains(single, i);
          const bool is_clip = single == singles.front() && job.gradient_clipping;
          if (op.purpose == Purpose::NormReduction)
            is_last &= is_clip ? before.contains(i, single) : before.contains(single, i);
          const bool new_weights =
              op.purpose == Purpose::ParameterGather && job.parallel.zero_stage < 3;
          if (new_weights) is_last &= steps && before.contains(i, singles.back());
        }
      CHECK(is_last);
    }
  }
}

}  // namespace windtunnel

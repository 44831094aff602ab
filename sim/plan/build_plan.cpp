#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "plan/job.hpp"
#include "plan/plan.hpp"
#include "plan/program_builder.hpp"
#include "plan/runtime_memory.hpp"

namespace windtunnel {

namespace {

Schedule schedule_of(const Job& job) {
  if (job.schedule_of_file) return *job.schedule_of_file;
  const ScheduleFamily* family = find_schedule(job.schedule);
  SIM_CHECK(family != nullptr, "unknown schedule " + job.schedule);
  return family->make(job.parallel.pipeline, job.micro_batches(), job.parallel.virtual_stages);
}

RankGrid grid_of(const Job& job, const Schedule& schedule) {
  const Parallelism& parallel = job.parallel;
  RankGrid grid{
      .tensor = parallel.tensor, .data = parallel.replicas(), .pipeline = parallel.pipeline};
  grid.context = parallel.context;
  grid.expert = parallel.expert;
  grid.expert_tensor = parallel.ranks_of_expert();
  grid.order = parallel.order;
  grid.shard_ranks = parallel.shard_ranks > 0 ? parallel.shard_ranks : grid.data;
  if (job.model.tied_embeddings())
    grid.embedding_ends = {schedule.device_of_stage.front(), schedule.device_of_stage.back()};
  return grid;
}

std::vector<LayerRange> layer_ranges(const std::vector<int>& layers_per_stage) {
  std::vector<LayerRange> ranges;
  int first = 0;
  for (const int layers : layers_per_stage) {
    ranges.push_back({first, first + layers});
    first += layers;
  }
  return ranges;
}

// The GEMM reads the sum and writes it in place of its gradient.
void sum_in_gemms(const Precision& precision, std::vector<Piece>& pieces) {
  const double each = 2 * bytes_of(precision.gradients) - bytes_of(precision.compute);
  for (Piece& piece : pieces)
    if (auto* gemm = std::get_if<Work>(&piece.what); gemm && gemm->is_weight_gradient)
      gemm->sums = Bytes(each * double(gemm->batch) * double(gemm->m) * double(gemm->n));
}

// Fused: in the GEMMs. Separate: a kernel for each tensor that reads the new gradient and the sum
// and writes the sum. Autograd keeps the first gradient of a tensor as it is, unless sums are of
// another type; ZeRO-3 adds up shards.
void add_accumulation(const Job& job, const Layer& layer, LayerWork& work) {
  const Precision& precision = job.precision;
  const bool adds = job.micro_batches() > 1 || precision.gradients != precision.compute;
  if (!adds || job.parallel.zero_stage == 3) return;
  if (job.accumulation == GradientAccumulation::Fused) {
    sum_in_gemms(precision, work.backward);
    sum_in_gemms(precision, work.backward_weight);
    return;
  }
  const double each = bytes_of(precision.compute) + 2 * bytes_of(precision.gradients);
  Work sum = elementwise(Bytes(
      each * double(layer.trained_per_rank(job.parallel.tensor, job.parallel.expert_ranks()))));
  sum.kernels = int(std::ranges::count(layer.tensors, false, &Tensor::frozen));
  if (sum.bytes.value == 0) return;
  work.backward.push_back({"accumulate", sum});
  work.backward_weight.push_back({"accumulate", sum});
}

}  // namespace

Plan build_plan(const Job& job) {
  if (job.recorded) return *job.recorded;
  SIM_CHECK(int(job.layers_per_stage.size()) == job.stages(), "layers_per_stage is not resolved");

  Plan plan;
  plan.overlaps_experts = job.parallel.overlap_experts;
  plan.type = job.precision.compute;
  plan.schedule = schedule_of(job);
  plan.grid = grid_of(job, plan.schedule);

  PlanContext context{job, plan, {}, layer_ranges(job.layers_per_stage)};
  for (int layer = 0; layer < int(job.model.layers.size()); ++layer)
    add_accumulation(job, job.model.layers[std::size_t(layer)],
                     context.works.emplace_back(layer_work(job.model, layer, job.slice(layer))));

  BlockTable blocks(context.works, plan.blocks);
  for (int pipeline = 0; pipeline < plan.grid.pipeline; ++pipeline)
    plan.programs.push_back(ProgramBuilder(context, blocks, pipeline).build());
  for (Program& program : plan.programs) add_runtime_memory(job, plan.grid, plan.blocks, program);
  return plan;
}

int BlockTable::layers(ActionType type, LayerRange range, const FlatCopies& copies) {
  const auto [known, is_new] = known_.try_emplace({type, range.first, range.end, copies}, 0);
  if (!is_new) return known->second;
  Block block;
  const auto append_copy = [&block](std::string_view name, Bytes bytes, int pieces) {
    Work work = elementwise(bytes);
    work.kernels = std::max(1, pieces);
    work.is_awaited = pieces > 0;
    if (bytes.value > 0) block.push_back({.piece = {name, work}, .layer = -1});
  };
  append_copy(kUnshardName, copies.after_gather, copies.gathered_pieces);
  const auto append = [&block, type](const std::vector<Piece>& pieces, int layer, bool recompute) {
    for (const Piece& piece : pieces) block.push_back({piece, layer, recompute, type});
  };
  const auto append_layer = [&](int layer) {
    const LayerWork& work = works_[std::size_t(layer)];
    if (type == ActionType::F) append(work.forward, layer, false);
    if (type == ActionType::B || type == ActionType::I) append(work.recompute, layer, true);
    if (type == ActionType::B) append(work.backward, layer, false);
    if (type == ActionType::I) append(work.backward_input, layer, false);
    if (type == ActionType::W) append(work.backward_weight, layer, false);
  };
  if (type == ActionType::F)
    for (int layer = range.first; layer < range.end; ++layer) append_layer(layer);
  else
    for (int layer = range.end - 1; layer >= range.first; --layer) append_layer(layer);
  append_copy(kReduceName, copies.before_reduction, copies.reduced_pieces);
  blocks_.push_back(std::move(block));
  return known->second = int(blocks_.size()) - 1;
}

int BlockTable::single(std::string_view name, const Work& work) {
  blocks_.push_back({BlockPiece{.piece = {name, work}, .layer = -1}});
  return int(blocks_.size()) - 1;
}

}  // namespace windtunnel

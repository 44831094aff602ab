// ZeRO-3 by lists: a collective for each tensor, a copy for each piece, nothing ahead.
#include <algorithm>
#include <array>
#include <vector>

#include "catch.hpp"
#include "jobs.hpp"
#include "plan/flat_copies.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

constexpr int kRanks = 4;
// Of a block with hidden size 256 the tensors of at least 100,000 numbers: QKV 3 h^2 and the MLP's
// two of 4 h^2; the projection's h^2 and eight vectors are smaller.
constexpr double kLarge = (3 + 4 + 4) * 256 * 256, kLargest = 4 * 256 * 256;
constexpr int kLargeTensors = 3, kTensors = 12;

Job lists() {
  Job job = job_of(gpt(256, 2, 4, 512, 64), {.data = kRanks, .zero_stage = 3});
  job.batch.sequence = 64;
  job.parallel.tensor_lists = true;
  return job;
}

std::vector<const Op*> ops_of(const Plan& plan, Purpose purpose, int layer) {
  std::vector<const Op*> ops;
  for (const Op& op : plan.programs.front().ops)
    if (is_collective(op, purpose) && covers(op, layer)) ops.push_back(&op);
  return ops;
}

std::vector<Work> copies(const Plan& plan, std::string_view name, int layer) {
  std::vector<Work> works;
  for (const Op& op : plan.programs.front().ops)
    if (op.kind == OpKind::Compute && covers(op, layer))
      for (const BlockPiece& piece : plan.blocks[std::size_t(op.block)])
        if (piece.piece.name == name) works.push_back(std::get<Work>(piece.piece.what));
  return works;
}

}  // namespace

TEST_CASE("tensor lists: each large tensor is gathered forward and backward, each one is reduced") {
  const Plan plan = build_plan(lists());
  const auto gathers = ops_of(plan, Purpose::ParameterGather, 1);
  REQUIRE(gathers.size() == std::size_t{2} * kLargeTensors);
  double bytes = 0, most = 0;
  for (const Op* op : gathers) {
    bytes += op->bytes.value;
    most = std::max(most, op->bytes.value);
  }
  CHECK(bytes == 2 * 2 * kLarge);  // bf16, two passes
  CHECK(most == 2 * kLargest);
  CHECK(ops_of(plan, Purpose::GradientReduction, 1).size() == kTensors);
}

TEST_CASE("tensor lists: a copy for each piece, which the device waits for") {
  const Plan plan = build_plan(lists());
  for (const Work& copy : copies(plan, kUnshardName, 1)) {
    CHECK(copy.kernels == kLargeTensors * kRanks);
    CHECK(copy.bytes == Bytes(3 * 2 * kLarge));  // cleared, read, written
    CHECK(copy.is_awaited);
  }
  CHECK(copies(plan, kUnshardName, 1).size() == 2);
  const std::vector<Work> reduced = copies(plan, kReduceName, 1);
  REQUIRE(reduced.size() == 1);
  CHECK(reduced.front().kernels == kTensors * kRanks);
  CHECK(reduced.front().is_awaited);
}

TEST_CASE("tensor lists: no gather runs ahead of the layer before") {
  const Plan plan = build_plan(lists());
  const auto& ops = plan.programs.front().ops;
  int compute = -1, gathers = 0;
  for (int i = 0; i < int(ops.size()); ++i) {
    const Op& op = ops[std::size_t(i)];
    if (op.kind == OpKind::Compute) compute = i;
    if (!is_collective(op, Purpose::ParameterGather) || compute < 0) continue;
    ++gathers;
    const bool is_after_compute = std::any_of(op.after.begin(), op.after.end(),
                                              [&](int before) { return before >= compute; });
    CHECK(is_after_compute);
  }
  CHECK(gathers > 2 * kLargeTensors);
}

TEST_CASE("tensor lists: what a step takes of the memory it gives back") {
  std::array<double, kMemoryKindNames.size()> left{};
  double taken = 0;
  const Plan plan = build_plan(lists());
  for (const Op& op : plan.programs.front().ops)
    for (const auto* changes : {&op.on_start, &op.on_end})
      for (const MemoryChange& change : *changes) {
        left[std::size_t(change.kind)] += change.bytes;
        taken += std::max(0.0, change.bytes);
      }
  CHECK(taken > 0);
  for (const double bytes : left) CHECK(bytes == 0);
}

TEST_CASE("tensor lists: small tensors are gathered together after the update") {
  const Job job = lists();
  const Plan plan = build_plan(job);
  const auto& ops = plan.programs.front().ops;
  REQUIRE(ops.size() > 2);
  const Op& gather = ops[ops.size() - 2];
  const Work copy = std::get<Work>(plan.blocks[std::size_t(ops.back().block)].front().piece.what);
  double small = 0;
  int tensors = 0;
  for (const Layer& layer : job.model.layers)
    for (const Tensor& tensor : layer.tensors)
      if (tensor.numel < kSmallestPartitioned && layer.kind != LayerKind::Head) {
        small += double(tensor.numel);
        ++tensors;
      }
  // The head has the final norm beside the words of the embedding.
  small += 2 * 256;
  tensors += 2;
  CHECK(is_collective(gather, Purpose::ParameterGather));
  CHECK(gather.bytes == Bytes(2 * small));
  CHECK(copy.kernels == tensors * kRanks);
}

}  // namespace windtunnel

// What FSDP copies between tensors and flat buffers, in bytes and in the plan.
#include "plan/flat_copies.hpp"

#include "catch.hpp"
#include "jobs.hpp"

namespace windtunnel {

namespace {

constexpr int kLayers = 3;
constexpr double kParameters = 1000;  // of a layer

Job sharded(int version, DType gradients) {
  Job job = job_of(synthetic(kLayers, {.parameters = {kParameters, kParameters, kParameters}}),
                   {.data = 2, .zero_stage = 3}, 2);
  job.precision = {.compute = DType::Bf16, .gradients = gradients};
  job.parallel.fsdp_version = version;
  job.parallel.keep_last_layer = false;
  return job;
}

double copied(const Job& job, std::string_view name) {
  const Plan plan = build_plan(job);
  double bytes = 0;
  for (const Op& op : plan.programs.front().ops)
    if (op.kind == OpKind::Compute)
      for (const BlockPiece& piece : plan.blocks[std::size_t(op.block)])
        if (piece.piece.name == name) bytes += std::get<Work>(piece.piece.what).bytes.value;
  return bytes;
}

}  // namespace

TEST_CASE("FSDP copies: bytes of both versions") {
  // bf16 weights, fp32 reduction: concatenated 2 + 2 and cast 2 + 4; copied out 2 + 2, in 2 + 4.
  const FlatCopies first = flat_copies(sharded(1, DType::Fp32), 7, 10);
  CHECK(first.after_gather == Bytes(0));
  CHECK(first.before_reduction == Bytes(10 * (4 + 6)));
  const FlatCopies second = flat_copies(sharded(2, DType::Fp32), 7, 10);
  CHECK(second.after_gather == Bytes(7 * 4));
  CHECK(second.before_reduction == Bytes(10 * 6));
  // One format: nothing is cast.
  CHECK(flat_copies(sharded(1, DType::Bf16), 7, 10).before_reduction == Bytes(10 * 4));
  CHECK(flat_copies(sharded(2, DType::Bf16), 7, 10).before_reduction == Bytes(10 * 4));
  CHECK(flat_copies(sharded(0, DType::Fp32), 7, 10).after_gather == Bytes(0));
  CHECK(flat_copies(sharded(0, DType::Fp32), 7, 10).before_reduction == Bytes(0));
}

TEST_CASE("FSDP copies: after every gather and before every reduction of the plan") {
  // Two micro-batches gather each layer twice each and reduce it once each.
  CHECK(copied(sharded(1, DType::Fp32), kUnshardName) == 0);
  CHECK(copied(sharded(1, DType::Fp32), kReduceName) == 2 * kLayers * kParameters * 10);
  CHECK(copied(sharded(2, DType::Fp32), kUnshardName) == 4 * kLayers * kParameters * 4);
  CHECK(copied(sharded(2, DType::Fp32), kReduceName) == 2 * kLayers * kParameters * 6);
  CHECK(copied(sharded(0, DType::Fp32), kUnshardName) == 0);
  CHECK(copied(sharded(0, DType::Fp32), kReduceName) == 0);
  // A layer that stays gathered from forward to backward is copied out once less.
  Job kept = sharded(2, DType::Fp32);
  kept.parallel.keep_last_layer = true;
  CHECK(copied(kept, kUnshardName) == (4 * kLayers - 2) * kParameters * 4);
}

}  // namespace windtunnel

// Gradients of several micro-batches: added up by the GEMMs that compute them, or by kernels apart.
#include "catch.hpp"
#include "jobs.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

// Of a plan's weight-gradient GEMMs: what adding moves, and how many kernels add apart.
struct Sums {
  double bytes = 0;
  int kernels = 0;
};

Sums sums_in(const Job& job) {
  Sums sums;
  for (const Block& block : build_plan(job).blocks)
    for (const BlockPiece& piece : block)
      if (const auto* work = std::get_if<Work>(&piece.piece.what)) {
        sums.bytes += work->sums.value;
        if (piece.piece.name == "accumulate") sums.kernels += work->kernels;
      }
  return sums;
}

Job small_job(int micro_batches, DType gradients, int zero_stage = 0) {
  Job job = job_of(gpt(64, 1, 4, 128, 16), {.data = 2, .zero_stage = zero_stage}, micro_batches);
  job.batch.sequence = 16;
  job.precision = {DType::Bf16, gradients};
  return job;
}

// Weights of the linears: QKV, projection and MLP 12 h^2, the head V h.
constexpr double kWeights = 12.0 * 64 * 64 + 128 * 64;

}  // namespace

TEST_CASE("accumulation: fused, GEMMs read a sum and write it in place of a gradient") {
  CHECK(sums_in(small_job(4, DType::Fp32)).bytes == (2 * 4 - 2) * kWeights);
  CHECK(sums_in(small_job(4, DType::Bf16)).bytes == (2 * 2 - 2) * kWeights);
  CHECK(sums_in(small_job(1, DType::Fp32)).bytes == (2 * 4 - 2) * kWeights);
  CHECK(sums_in(small_job(1, DType::Bf16)).bytes == 0);  // the gradient is the sum
  CHECK(sums_in(small_job(4, DType::Fp32)).kernels == 0);
}

TEST_CASE("accumulation: apart, a kernel for each tensor and nothing in the GEMMs") {
  Job job = small_job(4, DType::Fp32);
  job.accumulation = GradientAccumulation::Separate;
  CHECK(sums_in(job).bytes == 0);
  std::size_t tensors = 0;
  for (const Layer& layer : job.model.layers) tensors += layer.tensors.size();
  CHECK(sums_in(job).kernels == int(tensors));
}

TEST_CASE("accumulation: ZeRO-3 adds up shards") {
  CHECK(sums_in(small_job(4, DType::Fp32, 3)).bytes == 0);
}

}  // namespace windtunnel

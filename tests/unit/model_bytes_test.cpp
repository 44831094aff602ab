// Bytes moved by the memory-bound operations.
#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

Work work_named(const std::vector<Piece>& pieces, std::string_view name) {
  for (const Piece& piece : pieces)
    if (piece.name == name) return std::get<Work>(piece.what);
  FAIL("no piece " << name);
  return {};
}

}  // namespace

TEST_CASE("Norm, residual and attention of a layer with s = 4096, b = 2, h = 4096, a = 32") {
  const Model model = gpt(4096, 1, 32, 51200, 4096);
  Slice slice = {.micro_batch = 2, .sequence = 4096};
  const LayerWork work = layer_work(model, 1, slice);
  // n = s b h = 33554432. Norm 4 n, residual with dropout 7 n.
  CHECK(work_named(work.forward, "attention_norm").bytes == Bytes(134217728));
  CHECK(work_named(work.forward, "attention_residual").bytes == Bytes(234881024));
  // Of the 13 a s^2 b bytes of the core, softmax reads and writes 4: 4294967296. Q, K, V, O: 8 n.
  const double softmax = 4294967296;
  CHECK(work_named(work.forward, "attention").bytes == Bytes(13 * softmax / 4 + 8 * 33554432.0));
  CHECK(work_named(work.backward, "attention").bytes == Bytes(19 * softmax / 4 + 16 * 33554432.0));
  // GELU reads and writes 4 n elements; backward reads two and writes one.
  CHECK(work_named(work.forward, "gelu").bytes == Bytes(16 * 33554432.0));
  CHECK(work_named(work.backward, "gelu").bytes == Bytes(24 * 33554432.0));

  slice.attention = AttentionKernel::Flash;
  const LayerWork flash = layer_work(model, 1, slice);
  // Q, K, V, O and a log-sum-exp of 4 bytes a row and head.
  CHECK(work_named(flash.forward, "attention").bytes ==
        Bytes(8 * 33554432.0 + 4.0 * 32 * 4096 * 2));
  CHECK(work_named(flash.backward, "attention").bytes ==
        Bytes(16 * 33554432.0 + 4.0 * 32 * 4096 * 2));
}

TEST_CASE("Launches of a GPT layer in eager Megatron-LM") {
  // Forward: 2 norms, 4 linears, attention 4, 2 residuals, GELU. Backward: 2 norms of 2, 8 GEMMs,
  // attention 6, 2 residuals of 2, GELU.
  const LayerWork work = layer_work(gpt3_175b(), 1, {.sequence = 2048});
  CHECK(sums_of(work.forward).kernels == 2 + 4 + 4 + 2 + 1);
  CHECK(sums_of(work.backward).kernels == 4 + 8 + 6 + 4 + 1);
}

TEST_CASE("The shapes of a layer's GEMMs, t = 8") {
  const Slice slice = {.sequence = 2048, .tensor = 8};
  const LayerWork work = layer_work(gpt3_175b(), 1, slice);
  const auto is = [](const Work& gemm, std::int64_t m, std::int64_t n, std::int64_t k) {
    return gemm.m == m && gemm.n == n && gemm.k == k;
  };
  CHECK(is(work_named(work.forward, "qkv"), 2048, 3 * 12288 / 8, 12288));
  CHECK(is(work_named(work.forward, "projection"), 2048, 12288, 12288 / 8));
  CHECK(is(work_named(work.forward, "mlp_in"), 2048, 4 * 12288 / 8, 12288));
  CHECK(is(work_named(work.backward, "mlp_in.input_gradient"), 2048, 12288, 4 * 12288 / 8));
  CHECK(is(work_named(work.backward, "mlp_in.weight_gradient"), 4 * 12288 / 8, 12288, 2048));
  CHECK(is(work_named(layer_work(gpt3_175b(), 97, slice).forward, "logits"), 2048, 6400, 12288));
}

}  // namespace windtunnel

// Bytes moved by the memory-bound operations.
#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {

TEST_CASE("Norm, residual and attention of a layer with s = 4096, b = 2, h = 4096, a = 32") {
  const Model model = gpt(4096, 1, 32, 51200, 4096);
  Slice slice = {.micro_batch = 2, .sequence = 4096};
  const LayerWork work = layer_work(model, 1, slice);
  // n = s b h = 33554432. Norm 4 n, residual with dropout 7 n.
  CHECK(work_named(work.forward, "attention_norm").bytes == Bytes(134217728));
  CHECK(work_named(work.forward, "attention_residual").bytes == Bytes(234881024));
  // a s^2 b = 1073741824 scores: softmax reads and writes them, dropout writes its mask too. A GEMM
  // of the core moves the scores and 2 of Q, K, V, O; the copies of O and of dQ, dK, dV 4 n and 12
  // n.
  const double scores = 1073741824, n = 33554432;
  CHECK(work_named(work.forward, "softmax").bytes == Bytes(4 * scores));
  CHECK(work_named(work.backward, "softmax").bytes == Bytes(6 * scores));
  CHECK(work_named(work.forward, "attention_dropout").bytes == Bytes(5 * scores));
  CHECK(work_named(work.forward, "scores").bytes == Bytes(2 * scores + 4 * n));
  CHECK(work_named(work.backward, "scores.key_gradient").bytes == Bytes(2 * scores + 4 * n));
  CHECK(work_named(work.forward, "merge_heads").bytes == Bytes(4 * n));
  CHECK(work_named(work.backward, "join_gradients").bytes == Bytes(12 * n));
  // dY of the QKV linear is 3 n.
  CHECK(work_named(work.backward, "qkv.bias_gradient").bytes == Bytes(6 * n));
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
  // Forward: 2 norms, 4 linears, attention 5 (2 GEMMs, softmax, dropout, copy), 2 residuals, GELU.
  // Backward: 2 norms of 2, 8 GEMMs, 4 bias gradients, attention 8 (4 GEMMs, softmax, dropout, 2
  // copies), 2 residuals of 2, GELU.
  const LayerWork work = layer_work(gpt3_175b(), 1, {.sequence = 2048});
  CHECK(sums_of(work.forward).kernels == 2 + 4 + 5 + 2 + 1);
  CHECK(sums_of(work.backward).kernels == 4 + 8 + 4 + 8 + 4 + 1);
}

TEST_CASE("Eager kernels of a Llama layer move what their operators move, s = 8192, h = 4096") {
  Slice slice = {.sequence = 8192, .attention = AttentionKernel::Flash, .kernels = Kernels::Eager};
  const LayerWork work = layer_work(llama3_8b(), 1, slice);
  // RMSNorm: (4 x 2 + 28) n. Rotary: 20 bytes of each of (32 + 8) x 128 features. Both as much
  // slower as kernels between types are. SwiGLU: 5 of 14336.
  CHECK(work_named(work.forward, "attention_norm").bytes ==
        kMixedTypes * Bytes(36.0 * 8192 * 4096));
  CHECK(work_named(work.forward, "rotary").bytes == kMixedTypes * Bytes(20.0 * 8192 * 5120));
  CHECK(work_named(work.forward, "swiglu").bytes == Bytes(10.0 * 8192 * 14336));
  slice.kernels = Kernels::Compiled;
  const LayerWork compiled = layer_work(llama3_8b(), 1, slice);
  const auto bytes = [](double factor, double count) { return Approx(factor * count); };
  const double norm = 2.0 * 8192 * 4096, rotary = 2.0 * 8192 * 5120;  // one tensor, bf16
  CHECK(work_named(compiled.forward, "attention_norm").bytes.value ==
        bytes(kCompiledNorms.forward, 2 * norm));
  CHECK(work_named(compiled.backward, "attention_norm").bytes.value ==
        bytes(kCompiledNorms.backward, 3 * norm));
  CHECK(work_named(compiled.forward, "rotary").bytes.value ==
        bytes(kCompiledRotary.forward, 2 * rotary));
  CHECK(work_named(compiled.backward, "rotary").bytes.value ==
        bytes(kCompiledRotary.backward, 2 * rotary));
  CHECK(work_named(compiled.forward, "swiglu").bytes == Bytes(6.0 * 8192 * 14336));
  slice.kernels = Kernels::Fused;
  slice.software = find_software("megatron-2021");
  const LayerWork apex = layer_work(llama3_8b(), 1, slice);
  CHECK(work_named(apex.forward, "attention_norm").bytes.value ==
        bytes(kApexNorms.forward, 2 * norm));
  CHECK(work_named(apex.backward, "attention_norm").bytes.value ==
        bytes(kApexNorms.backward, 3 * norm));
  slice.software = find_software("megatron");
  const LayerWork fused = layer_work(llama3_8b(), 1, slice);
  CHECK(work_named(fused.forward, "attention_norm").bytes == Bytes(4.0 * 8192 * 4096));
  CHECK(sums_of(fused.forward).flops == sums_of(work.forward).flops);
  CHECK(fused.activation < work.activation);
}

TEST_CASE("FlashAttention-1 runs the FLOPs of FlashAttention-2 at half of its efficiency") {
  Slice slice = {.sequence = 8192, .attention = AttentionKernel::Flash};
  const Work second = work_named(layer_work(llama3_8b(), 1, slice).forward, "attention");
  slice.attention = AttentionKernel::Flash1;
  const Work first = work_named(layer_work(llama3_8b(), 1, slice).forward, "attention");
  CHECK(first.flops == second.flops);
  CHECK(first.bytes == second.bytes);
  CHECK(second.efficiency == 1);
  CHECK(first.efficiency == 0.5);
}

TEST_CASE("cuDNN's attention is FlashAttention's work at the device's factor") {
  Slice slice = {.sequence = 8192, .attention = AttentionKernel::Flash};
  const LayerWork flash = layer_work(llama3_8b(), 1, slice);
  slice.attention = AttentionKernel::Cudnn;
  const LayerWork cudnn = layer_work(llama3_8b(), 1, slice);
  CHECK(cudnn.activation == flash.activation);
  CHECK(sums_of(cudnn.backward).flops == sums_of(flash.backward).flops);
  for (const auto& [pieces, is_cudnn] :
       {std::pair(&flash.forward, false), std::pair(&cudnn.forward, true),
        std::pair(&cudnn.backward, true)})
    CHECK(work_named(*pieces, "attention").is_cudnn == is_cudnn);
  CHECK_FALSE(work_named(cudnn.forward, "qkv").is_cudnn);
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

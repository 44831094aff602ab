// Layers by a pattern: Mamba-2 mixers, attention, MLPs and experts as layers of their own.
#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

// One mixer: hidden 256, 8 heads of 64, 2 groups of 32 features, chunks of 128 tokens.
Model mixer() {
  return hybrid("M", {{"hidden", {256}},
                      {"vocab", {1024}},
                      {"mamba_heads", {8}},
                      {"mamba_groups", {2}},
                      {"mamba_state", {32}}});
}

}  // namespace

TEST_CASE("A Mamba-2 mixer has the parameters of Megatron-LM's") {
  // z, x 512 each, B, C 2 x 32 each, dt 8: 1160 rows of 256; convolution of 640 features, 4 taps
  // and a bias; dt_bias, A_log and D of 8; norms of 256 and 512; 512 x 256 back.
  CHECK(mixer().layers[1].parameters() ==
        256 + 1160 * 256 + 640 * 4 + 640 + 3 * 8 + 512 + 512 * 256);
  // Half of each but the first norm.
  CHECK(mixer().layers[1].parameters_per_rank(2) ==
        256 + 580 * 256 + 320 * 4 + 320 + 3 * 4 + 256 + 256 * 256);
}

TEST_CASE("Nemotron 3 Nano has the published 31.6 B parameters, 3.6 B of them active") {
  const Model nano =
      hybrid("MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", {{"hidden", {2688}},
                                                                      {"vocab", {131072}},
                                                                      {"heads", {32}},
                                                                      {"kv_heads", {2}},
                                                                      {"head_size", {128}},
                                                                      {"gated", {0}},
                                                                      {"experts", {128}},
                                                                      {"experts_per_token", {6}},
                                                                      {"expert_ffn", {1856}},
                                                                      {"shared_expert_ffn", {3712}},
                                                                      {"router_bias", {1}},
                                                                      {"mamba_state", {128}},
                                                                      {"mamba_heads", {64}},
                                                                      {"mamba_groups", {8}}});
  CHECK(nano.parameter_count() == 31577940288);
  CHECK(nano.active_parameter_count() == 3580076352);
}

TEST_CASE("The scan's kernels: GEMMs of a chunk, a head and a group") {
  const Slice slice = {.micro_batch = 1, .sequence = 1024, .attention = AttentionKernel::Flash};
  const LayerWork work = layer_work(mixer(), 1, slice);
  // 8 chunks. x is 1024 x 512 in 2 bytes, B and C 1024 x 64 each, states 8 x 8 x 64 x 32, C B^T
  // 8 x 2 x 128 x 128 in 4 bytes, dt 1024 x 8 in 4.
  const double x = 1048576, pair = 131072, states = 131072, square = 1048576, steps = 32768;
  const Work state = work_named(work.forward, "chunk_state");
  CHECK(state.flops == Flops(2.0 * 8 * 8 * 64 * 32 * 128));
  CHECK(state.bytes == Bytes(x + pair + 2 * steps + 4 * states));
  CHECK(work_named(work.forward, "conv1d").bytes == Bytes(2 * (x + 2 * pair)));
  CHECK(work_named(work.forward, "chunk_cumsum").bytes == Bytes(2.5 * steps));
  CHECK(work_named(work.forward, "state_passing").bytes == Bytes(6 * states));
  const Work squares = work_named(work.forward, "chunk_bmm");
  CHECK(squares.flops == Flops(2.0 * 8 * 2 * 128 * 128 * 32));
  CHECK(squares.bytes == Bytes(2 * pair + square));
  // Each token: its chunk's state, and half of the chunk on average.
  const Work scan = work_named(work.forward, "chunk_scan");
  CHECK(scan.flops == Flops(2.0 * 1024 * 8 * 64 * (32 + 64)));
  CHECK(scan.bytes == Bytes(square + 4 * x + pair + 2 * states + 2 * steps));
  CHECK(scan.efficiency < 0.25);
  // Kept: the norm's input and the first linear's, its output, y before the gate and behind it, and
  // the last linear's input.
  CHECK(work.activation == Bytes(2 * 1024 * (2 * 256 + 1160 + 3 * 512.0)));
  // 2 T h (1160 + 512) of the linears and 7 T d N of the scan.
  CHECK(work.forward_flops == Flops(2.0 * 1024 * 256 * (1160 + 512) + 7.0 * 1024 * 512 * 32));
  CHECK(work.backward_flops == 2 * work.forward_flops);
}

TEST_CASE("The scan of an fp8 job stays in 16 bits") {
  const Slice slice = {.sequence = 1024, .type = DType::Fp8, .attention = AttentionKernel::Flash};
  const LayerWork work = layer_work(mixer(), 1, slice);
  CHECK(work_named(work.forward, "chunk_scan").format == DType::Bf16);
  CHECK_FALSE(work_named(work.forward, "mamba_in").format);
}

TEST_CASE("More than one sample is turned round the state space") {
  Slice slice = {.micro_batch = 2, .sequence = 1024, .attention = AttentionKernel::Flash};
  const LayerWork work = layer_work(mixer(), 1, slice);
  CHECK(work_named(work.forward, "turn_input").bytes == Bytes(2 * 2.0 * 2048 * 1160));
  CHECK(work_named(work.backward, "turn_output").bytes == Bytes(2 * 2.0 * 2048 * 512));
  slice.micro_batch = 1;
  for (const Piece& piece : layer_work(mixer(), 1, slice).forward)
    CHECK(piece.name != "turn_input");
}

TEST_CASE("Experts without a gate get latent tokens") {
  const Model model = hybrid("E", {{"hidden", {256}},
                                   {"vocab", {1024}},
                                   {"gated", {0}},
                                   {"experts", {16}},
                                   {"experts_per_token", {4}},
                                   {"expert_ffn", {96}},
                                   {"expert_latent", {64}},
                                   {"shared_expert_ffn", {192}}});
  // Norm, router, two latent linears, 16 experts of 2 x 64 x 96, the shared MLP of 2 x 256 x 192.
  CHECK(model.layers[1].parameters() ==
        256 + 16 * 256 + 2 * 64 * 256 + 16 * 2 * 64 * 96 + 2 * 256 * 192);
  const Slice slice = {.sequence = 512, .attention = AttentionKernel::Flash, .expert = 4};
  const LayerWork work = layer_work(model, 1, slice);
  for (const Piece& piece : work.forward)
    if (piece.name == "dispatch")  // 4 copies of 512 tokens of 64 features
      CHECK(std::get<LayerCollective>(piece.what).size == Bytes(4.0 * 512 * 64 * 2));
  CHECK(work_named(work.forward, "experts_in").n == 96);
  CHECK(work_named(work.forward, "experts_in").k == 64);
  CHECK(work_named(work.forward, "latent_down").n == 64);
  CHECK(work_named(work.forward, "latent_up").k == 64);
  CHECK(work_named(work.forward, "shared_in").n == 192);
}

TEST_CASE("Further tokens pass layers of their own and the head") {
  const auto model = [](double further, double shared) {
    return hybrid("-", {{"hidden", {256}},
                        {"vocab", {1024}},
                        {"ffn", {512}},
                        {"mtp_layers", {further}},
                        {"mtp_pattern", further > 0 ? letters_of("-") : std::vector<double>()},
                        {"mtp_shared", {shared}}});
  };
  const Model plain = model(0, 0), two = model(2, 0), shared = model(2, 1);
  REQUIRE(two.layers.size() == plain.layers.size() + 4);
  // Two norms and 512 x 256 where a token comes in, and a gated MLP with its norm.
  const std::int64_t more = 2 * 256 + 512 * 256 + 256 + 3 * 512 * 256;
  CHECK(two.parameter_count() == plain.parameter_count() + 2 * more);
  CHECK(shared.parameter_count() == plain.parameter_count() + more);
  const Slice slice = {.sequence = 512, .attention = AttentionKernel::Flash};
  const LayerWork once = layer_work(plain, 2, slice), thrice = layer_work(two, 6, slice);
  CHECK(thrice.forward_flops == 3 * once.forward_flops);
  CHECK(thrice.logits == 3 * once.logits);
  CHECK(sums_of(thrice.backward).kernels == 3 * sums_of(once.backward).kernels);
}

}  // namespace windtunnel

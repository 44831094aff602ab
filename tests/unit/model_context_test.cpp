// Context parallelism: what C ranks that share a sample compute and send.
#include <algorithm>
#include <tuple>

#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

// Llama-2 70B, one sequence of 131072 tokens.
Model llama_70b() {
  return llama(8192, 80, 28672, 64, 8, 32000);
}
Slice slice_of(int ranks, ContextParallel how) {
  return {.sequence = 131072,
          .attention = AttentionKernel::Flash,
          .context = ranks,
          .context_parallel = how};
}

// A ring's (n-1)/n of the buffer, as all-to-all sends it too.
double sent(const std::vector<Piece>& pieces, int ranks) {
  double bytes = 0;
  for (const Piece& piece : pieces)
    if (const auto* collective = std::get_if<LayerCollective>(&piece.what)) {
      CHECK(collective->group == LayerGroup::Context);
      bytes += collective->size.value * (ranks - 1) / ranks;
    }
  return bytes;
}

}  // namespace

TEST_CASE("Llama 70B, s = 131072, 8 ranks: bytes sent by the attention of a layer") {
  // K and V of a rank: 2 x 16384 x 8 x 128 x 2 = 67108864. Q: 16384 x 64 x 128 x 2 = 268435456.
  using enum ContextParallel;
  for (const auto& [how, forward, backward] :
       {std::tuple(Ring, 469762048.0, 939524096.0), std::tuple(AllGather, 469762048.0, 939524096.0),
        std::tuple(Ulysses, 528482304.0, 528482304.0)}) {
    INFO(name_of(kContextParallelNames, how));
    const LayerWork work = layer_work(llama_70b(), 1, slice_of(8, how));
    CHECK(sent(work.forward, 8) == forward);
    CHECK(sent(work.backward, 8) == backward);
  }
}

TEST_CASE("Ranks that share a sample do an equal part of the work") {
  const Model model = llama_70b();
  const Slice alone = slice_of(1, ContextParallel::Ring);
  for (const int ranks : {2, 4, 8})
    for (const ContextParallel how :
         {ContextParallel::Ring, ContextParallel::AllGather, ContextParallel::Ulysses})
      for (int layer : {0, 1, int(model.layers.size()) - 1}) {
        INFO(name_of(kContextParallelNames, how) << " " << ranks << ", layer " << layer);
        const LayerWork one = layer_work(model, layer, alone);
        const LayerWork part = layer_work(model, layer, slice_of(ranks, how));
        for (const OpClass op : {OpClass::Matmul, OpClass::Attention}) {
          CHECK(flops_of(part.forward, op).value * ranks ==
                Approx(flops_of(one.forward, op).value).epsilon(1e-14));
          CHECK(flops_of(part.backward, op).value * ranks ==
                Approx(flops_of(one.backward, op).value).epsilon(1e-14));
        }
        // For MFU both count the whole sample.
        CHECK(part.forward_flops == one.forward_flops);
        CHECK(part.backward_flops == one.backward_flops);
        CHECK(part.causal_saving == one.causal_saving);
        CHECK(part.activation * ranks == one.activation);
        CHECK(part.output * ranks == one.output);
      }
}

TEST_CASE("A ring hides its exchange behind all blocks but the last") {
  const LayerWork work = layer_work(llama_70b(), 1, slice_of(4, ContextParallel::Ring));
  const auto at = std::find_if(work.forward.begin(), work.forward.end(),
                               [](const Piece& piece) { return piece.name == "gather_keys"; });
  REQUIRE(at != work.forward.end());
  CHECK(std::get<LayerCollective>(at->what).overlaps_next);
  const Work beside = std::get<Work>(at[1].what), last = std::get<Work>(at[2].what);
  CHECK(beside.kernels == 3);
  CHECK(last.kernels == 1);
  CHECK(beside.flops == 3 * last.flops);
}

TEST_CASE("Why a sequence cannot be shared like this") {
  const Model model = llama(64, 2, 128, 8, 2, 128);
  const auto why = [&](int sequence, int ranks, ContextParallel how, AttentionKernel kernel) {
    return model.family->slice_limits(
        model,
        {.sequence = sequence, .attention = kernel, .context = ranks, .context_parallel = how});
  };
  using enum ContextParallel;
  constexpr auto kFlash = AttentionKernel::Flash;
  CHECK(why(96, 3, Ring, kFlash).empty());
  CHECK(why(99, 3, Ring, kFlash) ==
        "context parallelism 3 does not divide the 99 tokens of a sequence into 2 x 3 chunks");
  CHECK(why(96, 4, Ulysses, kFlash) ==
        "context parallelism 4 (ulysses) does not divide the 2 key-value heads of a rank");
  CHECK(why(96, 3, Ulysses, kFlash) ==
        "context parallelism 3 (ulysses) does not divide the 8 attention heads of a rank");
  CHECK(why(96, 2, Ring, AttentionKernel::Unfused) == "context parallelism needs attention: flash");
}

}  // namespace windtunnel

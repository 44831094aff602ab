// What holds for every family, layer and slice.
#include <set>

#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

// Every kind; every module alone and all of them at once.
std::vector<Recomputation> recomputations() {
  std::vector<Recomputation> all = {Recompute::None, Recompute::Selective, Recompute::Full,
                                    Recompute::PerOp};
  Recomputation every(Recompute::Modules);
  for (std::size_t i = 0; i < kRecomputeModuleNames.size(); ++i) {
    Recomputation alone(Recompute::Modules);
    alone.modules.add(RecomputeModule(i));
    every.modules.add(RecomputeModule(i));
    all.push_back(alone);
  }
  all.push_back(every);
  return all;
}

// Slices of every kind that a model takes; sequences as images have them, 1, where there is none.
std::vector<Slice> slices_of(const Model& model) {
  std::vector<Slice> slices;
  for (const int tensor : {1, 2, 4})
    for (const bool sequence_parallel : {false, true})
      for (const DType type : {DType::Bf16, DType::Fp32, DType::Fp8, DType::Fp4})
        for (const auto attention : {AttentionKernel::Unfused, AttentionKernel::Flash})
          for (const Recomputation& recompute : recomputations()) {
            const Slice slice = {2,        model.family->is_sequence ? 512 : 1,
                                 tensor,   sequence_parallel,
                                 type,     attention,
                                 recompute};
            if (model.family->slice_limits(model, slice).empty()) slices.push_back(slice);
          }
  return slices;
}

template <class Check>
void for_every_layer(const Check& check) {
  for (const Model& model : examples())
    for (const Slice& slice : slices_of(model))
      for (int layer = 0; layer < int(model.layers.size()); ++layer) {
        INFO(model.name << ", layer " << layer << ", t " << slice.tensor << ", sequence parallel "
                        << slice.sequence_parallel << ", recompute "
                        << recomputation_text(slice.recompute));
        check(model, layer, slice, layer_work(model, layer, slice));
      }
}

bool is_close(double a, double b) {
  return std::abs(a - b) <= 1e-12 * std::abs(a + b);
}

}  // namespace

TEST_CASE("Every family has an example and a source") {
  std::set<std::string_view> seen;
  for (const Model& model : examples()) seen.insert(model.family->name);
  for (const ModelFamily& family : model_families()) {
    CHECK(seen.contains(family.name));
    CHECK_FALSE(family.source.empty());
    CHECK(find_model_family(family.name) == &family);
  }
}

TEST_CASE("The fused backward is the sum of its halves") {
  for_every_layer([](const Model&, int, const Slice& slice, const LayerWork& work) {
    const Sums whole = sums_of(work.backward, slice.tensor);
    const Sums input = sums_of(work.backward_input, slice.tensor);
    const Sums weight = sums_of(work.backward_weight, slice.tensor);
    REQUIRE(whole.flops == input.flops + weight.flops);
    REQUIRE(is_close(whole.bytes.value, input.bytes.value + weight.bytes.value));
    REQUIRE(whole.kernels == input.kernels + weight.kernels);
    REQUIRE(whole.duration == input.duration + weight.duration);
    REQUIRE(is_close(whole.sent.value, input.sent.value + weight.sent.value));
    REQUIRE(whole.collectives == input.collectives + weight.collectives);
  });
}

TEST_CASE("What overlaps is followed by compute, and nothing communicates alone") {
  for_every_layer([](const Model&, int, const Slice& slice, const LayerWork& work) {
    for (const auto* pass : {&work.forward, &work.backward, &work.backward_input,
                             &work.backward_weight, &work.recompute})
      for (std::size_t i = 0; i < pass->size(); ++i) {
        REQUIRE_FALSE((*pass)[i].name.empty());
        const auto* collective = std::get_if<LayerCollective>(&(*pass)[i].what);
        if (collective == nullptr) continue;
        REQUIRE(slice.tensor > 1);
        REQUIRE(collective->size > Bytes(0));
        if (!collective->overlaps_next) continue;
        REQUIRE(i + 1 < pass->size());
        REQUIRE(std::holds_alternative<Work>((*pass)[i + 1].what));
      }
  });
}

TEST_CASE("Recomputation trades activations for work, in blocks only") {
  for_every_layer([](const Model& model, int layer, const Slice& slice, const LayerWork& work) {
    Slice none = slice;
    none.recompute = Recompute::None;
    const LayerWork kept = layer_work(model, layer, none);
    REQUIRE(work.activation + work.recompute_buffer == kept.activation);
    REQUIRE(work.recompute_buffer >= Bytes(0));
    REQUIRE(kept.recompute.empty());
    REQUIRE(work.activation >= Bytes(0));
    const bool is_block = model.layers[std::size_t(layer)].kind == LayerKind::Block;
    if (!is_block) REQUIRE(work.recompute.empty());
    if (is_block && slice.recompute == Recompute::Full)
      REQUIRE(sums_of(work.recompute, slice.tensor) == sums_of(work.forward, slice.tensor));
    if (kept.activation != work.activation) REQUIRE_FALSE(work.recompute.empty());
    REQUIRE(sums_of(work.backward, slice.tensor) == sums_of(kept.backward, slice.tensor));
    REQUIRE(work.forward_flops == kept.forward_flops);
  });
}

TEST_CASE("Tensor parallelism divides the GEMMs and attention of a transformer") {
  for_every_layer([](const Model& model, int layer, const Slice& slice, const LayerWork& work) {
    const bool is_block = model.layers[std::size_t(layer)].kind == LayerKind::Block;
    if (!is_block && model.family->name != "gpt" && model.family->name != "llama" &&
        model.family->name != "hybrid")
      return;
    // Latent attention's narrow linears are divided by tokens, if these are.
    const bool is_latent = model.parameters.has("kv_rank") && model.parameters.count("kv_rank") > 0;
    if (is_latent && !slice.sequence_parallel) return;
    Slice whole = slice;
    whole.tensor = 1;
    const LayerWork one = layer_work(model, layer, whole);
    for (const OpClass op : {OpClass::Matmul, OpClass::Attention}) {
      REQUIRE(slice.tensor * flops_of(work.forward, op) == flops_of(one.forward, op));
      REQUIRE(slice.tensor * flops_of(work.backward, op) == flops_of(one.backward, op));
    }
    REQUIRE(work.forward_flops == one.forward_flops);
    REQUIRE(work.backward_flops == one.backward_flops);
  });
}

TEST_CASE("Activations shrink with tensor parallelism, and again with sequence parallelism") {
  for_every_layer([](const Model& model, int layer, const Slice& slice, const LayerWork& work) {
    if (slice.tensor == 1) return;
    Slice other = slice;
    other.tensor = 1;
    REQUIRE(work.activation <= layer_work(model, layer, other).activation);
    REQUIRE(work.logits <= layer_work(model, layer, other).logits);
    other = slice;
    other.sequence_parallel = false;
    const Bytes without = layer_work(model, layer, other).activation;
    if (slice.sequence_parallel && model.layers[std::size_t(layer)].kind == LayerKind::Block)
      REQUIRE(work.activation < without);
  });
}

// But for what a Mamba-2 mixer copies where there are several samples.
std::vector<Piece> unturned(std::vector<Piece> pieces) {
  std::erase_if(pieces, [](const Piece& piece) { return piece.name.starts_with("turn_"); });
  return pieces;
}

TEST_CASE("Two samples are twice one, but for the weights' traffic") {
  for_every_layer([](const Model& model, int layer, const Slice& slice, const LayerWork& work) {
    if (model.family->name == "synthetic") return;
    Slice half = slice;
    half.micro_batch = 1;
    const LayerWork one = layer_work(model, layer, half);
    REQUIRE(sums_of(work.forward).flops == 2 * sums_of(one.forward).flops);
    REQUIRE(work.forward_flops == 2 * one.forward_flops);
    REQUIRE(work.activation == 2 * one.activation);
    REQUIRE(work.output == 2 * one.output);
    const Sums two = sums_of(unturned(work.forward));
    REQUIRE(two.bytes <= 2 * sums_of(one.forward).bytes);
    REQUIRE(two.kernels == sums_of(one.forward).kernels);
  });
}

TEST_CASE("Tensors of a layer have distinct names") {
  for (const Model& model : examples())
    for (const Layer& layer : model.layers) {
      std::set<std::string> names;
      for (const Tensor& tensor : layer.tensors) {
        INFO(model.name << " " << layer.name << " " << tensor.name);
        CHECK(tensor.numel > 0);
        CHECK(names.insert(tensor.name).second);
      }
    }
}

}  // namespace windtunnel

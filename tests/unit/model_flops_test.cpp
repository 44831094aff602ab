// FLOPs that MFU counts, and FLOPs that run.
#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {

TEST_CASE("GPT-3 layer, one sequence of 2048") {
  const Model model = gpt3_175b();
  const LayerWork block = layer_work(model, 1, {.sequence = 2048});
  // 24 s h^2 + 4 s^2 h = 24 * 2048 * 12288^2 + 4 * 2048^2 * 12288.
  CHECK(block.forward_flops == Flops(7627861917696));
  CHECK(block.backward_flops == 2 * block.forward_flops);
  // Half of the core, three times: 6 s^2 h.
  CHECK(block.causal_saving == Flops(6.0 * 2048 * 2048 * 12288));
  // Unfused attention runs what is counted; biases, norms and softmax have no FLOPs here.
  CHECK(sums_of(block.forward).flops == block.forward_flops);
  CHECK(sums_of(block.backward).flops == block.backward_flops);
}

TEST_CASE("GPT-3 iteration: 1536 sequences of 2048") {
  const Model model = gpt3_175b();
  const Slice slice = {.sequence = 2048, .recompute = Recompute::Full};
  const auto [forward, backward] = counted_flops(model, slice);
  // 72 B s l h^2 (1 + s / 6h + V / 12lh), Narayanan et al. 2021, arXiv:2104.04473, equation 3.
  CHECK((1536 * (forward + backward)).value == 3386196746387324928.0);
  // 96 B s l h^2 (1 + s / 6h + V / 16lh): the layers' forward runs twice, the logits' once.
  Flops recomputed;
  for (int i = 0; i < int(model.layers.size()); ++i)
    recomputed += sums_of(layer_work(model, i, slice).recompute).flops;
  CHECK((1536 * (forward + backward + recomputed)).value == 4510970753323106304.0);
}

TEST_CASE("Llama-3 8B layer, one sequence of 8192") {
  const Model model = llama3_8b();
  const Slice slice = {.sequence = 8192, .attention = AttentionKernel::Flash};
  const LayerWork block = layer_work(model, 1, slice);
  const auto flops = [&](std::string_view name) {
    for (const Piece& piece : block.forward)
      if (piece.name == name) return std::get<Work>(piece.what).flops.value;
    return 0.0;
  };
  CHECK(flops("qkv") == 412316860416);         // 2 * 8192 * 4096 * (4096 + 2 * 1024)
  CHECK(flops("attention") == 549755813888);   // 2 * 8192^2 * 4096, the causal half
  CHECK(flops("projection") == 274877906944);  // 2 * 8192 * 4096 * 4096
  CHECK(flops("mlp_in") + flops("mlp_out") == 2886218022912);  // 6 * 8192 * 4096 * 14336
  CHECK(sums_of(block.forward).flops == Flops(4123168604160));
  // Flash attention runs its backward 2.5 times the forward, which counts 2 times the full square.
  CHECK(flops_of(block.backward, OpClass::Attention) == Flops(2.5 * 549755813888));
  CHECK(block.forward_flops == Flops(4123168604160 + 549755813888));
}

TEST_CASE("Llama-3 8B training FLOPs a token at 8192") {
  const Model model = llama3_8b();
  const Slice slice = {.sequence = 8192};
  const auto [forward, backward] = counted_flops(model, slice);
  Flops saving;
  for (int i = 0; i < int(model.layers.size()); ++i)
    saving += layer_work(model, i, slice).causal_saving;
  CHECK((forward + backward) / 8192 == Flops(57912852480));           // PaLM, torchtitan
  CHECK((forward + backward - saving) / 8192 == Flops(51470401536));  // Megatron-LM
}

TEST_CASE("BERT-large forward, one sequence of 512") {
  const Model model = bert(1024, 24, 1);
  const Slice slice = {.sequence = 512};
  const auto [forward, backward] = counted_flops(model, slice);
  // 24 layers, then the head on all positions: 2 s h^2 + 2 s h V.
  CHECK(24 * layer_work(model, 1, slice).forward_flops == Flops(335007449088));
  CHECK(forward == Flops(368085827584));
  CHECK(backward == 2 * forward);
  CHECK(layer_work(model, 1, slice).causal_saving == Flops(0));
  const LayerWork split =
      layer_work(model, 25, {.sequence = 512, .tensor = 2, .sequence_parallel = true});
  CHECK(split.forward_flops == layer_work(model, 25, slice).forward_flops);
}

TEST_CASE("BERT's masked words alone go through the head") {
  // 80 of 512 positions: 2 * 80 h^2 + 2 * 80 h V; logits of 4 bytes that the loss keeps.
  Model model = bert(1024, 24, 1);
  const Slice slice = {.sequence = 512};
  const LayerWork whole = layer_work(model, 25, slice);
  model.parameters.set("masked", 80.0 / 512);
  const LayerWork masked = layer_work(model, 25, slice);
  CHECK(masked.forward_flops == Flops(2.0 * 80 * 1024 * (1024 + 30522)));
  CHECK(masked.backward_flops == 2 * masked.forward_flops);
  CHECK(masked.logits == whole.logits * (80.0 / 512));
  CHECK(masked.output == whole.output);
}

TEST_CASE("ViT-B/16: 17563828224 MACs an image") {
  const auto [forward, backward] = counted_flops(vit_b_16(), {});
  CHECK(forward == Flops(2 * 17563828224.0));
  // The patches, 196 * 3 * 16^2 * 768 MACs, have no input gradient.
  CHECK(backward == 2 * forward - Flops(2.0 * 196 * 768 * 768));
}

TEST_CASE("ResNet-50 block by block") {
  const Model model = resnet50();
  struct Row {
    std::string name;
    std::int64_t parameters;
    double macs;
  };
  const Row rows[] = {{"conv1", 9536, 118013952},       {"layer1.0", 75008, 231211008},
                      {"layer1.1", 70400, 218365952},   {"layer1.2", 70400, 218365952},
                      {"layer2.0", 379392, 372506624},  {"layer2.1", 280064, 218365952},
                      {"layer2.2", 280064, 218365952},  {"layer2.3", 280064, 218365952},
                      {"layer3.0", 1512448, 372506624}, {"layer3.1", 1117184, 218365952},
                      {"layer3.2", 1117184, 218365952}, {"layer3.3", 1117184, 218365952},
                      {"layer3.4", 1117184, 218365952}, {"layer3.5", 1117184, 218365952},
                      {"layer4.0", 6039552, 372506624}, {"layer4.1", 4462592, 218365952},
                      {"layer4.2", 4462592, 218365952}, {"fc", 2049000, 2048000}};
  REQUIRE(model.layers.size() == std::size(rows));
  for (std::size_t i = 0; i < std::size(rows); ++i) {
    INFO(rows[i].name);
    CHECK(model.layers[i].name == rows[i].name);
    CHECK(model.layers[i].parameters() == rows[i].parameters);
    CHECK(layer_work(model, int(i), {}).forward_flops == Flops(2 * rows[i].macs));
  }
  const auto [forward, backward] = counted_flops(model, {});
  CHECK(forward == Flops(2 * 4089184256.0));
  // 2 (3 * 4089184256 - 118013952): the first convolution has no input gradient.
  CHECK(forward + backward == Flops(24299077632));
  // Version 1 strides earlier and computes less: 3.858 GMACs.
  CHECK(counted_flops(resnet50(0), {}).first.value / 2 == Approx(3.858e9).epsilon(2e-4));
}

TEST_CASE("MLP: 2 FLOPs a weight and sample forward, and no input gradient at the first layer") {
  const auto [forward, backward] = counted_flops(mlp(), {.micro_batch = 32});
  const double weights = 784.0 * 4096 + 4 * 4096.0 * 4096 + 4096 * 10;
  CHECK(forward == Flops(2 * 32 * weights));
  CHECK(backward == 2 * forward - Flops(2.0 * 32 * 784 * 4096));
}

}  // namespace windtunnel

// Mixtures of experts. T = tokens, k of E experts for each, h = hidden, f = width of an expert.
#include <algorithm>

#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

struct Exchange {
  std::string_view name;
  CollectiveKind kind;
  LayerGroup group;
  double bytes;
  bool operator==(const Exchange&) const = default;
};

std::vector<Exchange> exchanges_of(const std::vector<Piece>& pieces) {
  std::vector<Exchange> list;
  for (const Piece& piece : pieces)
    if (const auto* collective = std::get_if<LayerCollective>(&piece.what))
      list.push_back({piece.name, collective->kind, collective->group, collective->size.value});
  return list;
}

}  // namespace

TEST_CASE("A token's experts lie on so many nodes") {
  // 2 of 4 experts on 2 nodes: both on one node in 2 of 6 choices, so 1 + 4/6 nodes.
  CHECK(parts_of_token({4, 2}, 2) == Approx(1 + 4.0 / 6));
  CHECK(parts_of_token({256, 8}, 1) == Approx(1));
  // In one of 2 groups, which is a node: 1. Nodes of half a group: one of the group's two pairs of
  // experts has both in 2 of 6 choices.
  CHECK(parts_of_token({8, 2, 2, 1}, 2) == Approx(1));
  CHECK(parts_of_token({8, 2, 2, 1}, 4) == Approx(1 + 4.0 / 6));
  // 2 of 3 experts in 2 of 3 groups of one: always two nodes. One expert: one, whatever the groups.
  CHECK(parts_of_token({3, 2, 3, 2}, 3) == Approx(2));
  for (const int parts : {1, 2, 4, 8, 16})
    CHECK(parts_of_token({256, 1, 8, 4}, parts) == Approx(1));
  // DeepSeek-V3, 8 of 256 experts in 4 of 8 groups, over 8 nodes of one group each: a node has none
  // where its group is not chosen, or no expert of it: 8 (1 - 1/2 - C(96, 8) / C(128, 8) / 2).
  CHECK(parts_of_token({256, 8, 8, 4}, 8) == Approx(3.6290109244257).epsilon(1e-12));
  CHECK(parts_of_token({256, 8}, 8) == Approx(5.2946520003825).epsilon(1e-12));
  // Never more than chosen groups can hold, nor than without groups.
  for (const int parts : {1, 2, 4, 8, 16, 32, 64})
    CHECK(parts_of_token({256, 8, 8, 4}, parts) <= parts_of_token({256, 8}, parts) + 1e-12);
}

TEST_CASE("Mixtures of experts have the published parameters") {
  // Mixtral 8x7B: 46.7 B in all, 12.9 B active (arXiv:2401.04088, section 2.2).
  CHECK(mixtral_8x7b().parameter_count() == 46702792704);
  CHECK(mixtral_8x7b().active_parameter_count() == 12879925248);
  // Qwen3-30B-A3B: 30.5 B, 3.3 B active (arXiv:2505.09388, table 2). A block: attention
  // 2 x 2048 x 4096 + 2 x 2048 x 512 = 18874368, its norms 256 + 2 x 2048, router 128 x 2048,
  // experts 128 x 3 x 768 x 2048 = 603979776: 623120640. 48 of them + 2048 + 2 x 151936 x 2048.
  const Model qwen =
      mixture(2048, 48, 768, 32, 4, 151936, 128, 8, {{"head_size", {128}}, {"qk_norm", {1}}});
  CHECK(qwen.parameter_count() == 30532122624);
  // 120 of 128 experts rest: 48 x 120 x 3 x 768 x 2048 = 27179089920 less.
  CHECK(qwen.active_parameter_count() == 30532122624 - 27179089920);
  CHECK(llama3_8b().active_parameter_count() == llama3_8b().parameter_count());
  CHECK_FALSE(llama3_8b().has_experts());
}

TEST_CASE("Biases and clamps of experts are operators of their own") {
  const Model model =
      mixture(2880, 36, 2880, 64, 8, 201088, 128, 4,
              {{"head_size", {64}}, {"expert_bias", {1}}, {"clamped_experts", {1}}});
  // GPT OSS 120B: 116.83 B (arXiv:2508.10925, table 1). A block: attention 2880 x 5120 + 4096 x
  // 2880, norms 5760, router 128 x 2880, experts 128 x (3 x 2880^2 + 5760 + 2880): 3213072000. 36
  // of them + 2880 + 2 x 201088 x 2880; not counted are 294,912 of attention and routers.
  CHECK(model.parameter_count() == 116828861760);
  // 4096 tokens, 4 experts each: 16384 rows of 2880 features, bf16, of 2 experts on this rank.
  Slice slice = {.sequence = 4096, .attention = AttentionKernel::Flash, .expert = 64};
  constexpr double kRows = 16384.0 * 2880;
  const LayerWork work = layer_work(model, 1, slice);
  const auto of = [](const std::vector<Piece>& pieces, std::string_view name) {
    for (const Piece& piece : pieces)
      if (piece.name == name) return std::get<Work>(piece.what);
    return Work{};
  };
  CHECK(of(work.forward, "clamp").bytes == Bytes(8 * 2 * kRows));
  CHECK(of(work.backward, "clamp").bytes == Bytes(10 * 2 * kRows));
  CHECK(of(work.forward, "expert_bias").bytes == Bytes(28 * kRows));
  CHECK(of(work.forward, "expert_bias").kernels == 2 * 2 + 2);
  CHECK(of(work.backward, "expert_bias").bytes == Bytes(40 * kRows));
  CHECK(of(work.backward, "expert_bias").kernels == 5 * 2 + 2);
  // The clamps keep both halves.
  Model plain = model;
  plain.parameters =
      mixture(2880, 36, 2880, 64, 8, 201088, 128, 4, {{"head_size", {64}}}).parameters;
  CHECK(work.activation - layer_work(plain, 1, slice).activation == Bytes(2 * 2 * kRows));
  // Inside the GEMMs of fp8 where they are fused.
  slice.type = DType::Fp8;
  slice.software = find_software("megatron-fused-experts");
  for (const Piece& piece : layer_work(model, 1, slice).forward) {
    CHECK(piece.name != "clamp");
    CHECK(piece.name != "expert_bias");
  }
}

TEST_CASE("Scaled rotary positions are operators of their own, of queries and keys") {
  Values values = llama_values(4096, 1, 14336, 32, 8, 128256);
  values.push_back({"scaled_rotary", {1}});
  const Model scaled = model_of("llama", values);
  Slice slice = {.sequence = 8192, .attention = AttentionKernel::Flash};
  const auto rotary = [&](const Model& model, bool backward) {
    const LayerWork work = layer_work(model, 1, slice);
    for (const Piece& piece : backward ? work.backward : work.forward)
      if (piece.name == "rotary") return std::get<Work>(piece.what);
    return Work{};
  };
  const double bytes = 2 * 8192.0 * (32 + 8) * 128;
  CHECK(rotary(llama3_8b(), false).bytes == Bytes(2 * bytes));
  CHECK(rotary(scaled, false).bytes == Bytes(12 * bytes));
  CHECK(rotary(scaled, false).kernels == 24);
  CHECK(rotary(scaled, true).bytes == Bytes(14 * bytes));
  CHECK(rotary(scaled, true).kernels == 14);
  // Eager and compiled kernels take the factor along.
  for (const Kernels kernels : {Kernels::Eager, Kernels::FusedNorm, Kernels::Compiled}) {
    slice.kernels = kernels;
    CHECK(rotary(scaled, false).bytes == rotary(llama3_8b(), false).bytes);
  }
}

TEST_CASE("Dense layers, every second layer, a shared expert") {
  const auto kinds = [](const Model& model) {
    std::string letters;
    for (const Layer& layer : model.layers)
      if (layer.kind == LayerKind::Block)
        letters += layer.tensors[4].name.starts_with("router") ? "e" : "d";
    return letters;
  };
  const auto of = [](const Values& more) { return mixture(64, 6, 128, 4, 4, 100, 4, 1, more); };
  CHECK(kinds(of({})) == "eeeeee");
  CHECK(kinds(of({{"dense_layers", {2}}})) == "ddeeee");
  CHECK(kinds(of({{"expert_interval", {2}}})) == "dedede");
  // An expert has 3 h f = 3 x 64 x 32, the shared one 3 x 64 x 16, the router 4 x 64; the MLP that
  // they replace 3 x 64 x 128.
  const Model dense = llama(64, 6, 128, 4, 4, 100);
  const Model narrow = of({{"expert_ffn", {32}}, {"shared_expert_ffn", {16}}});
  CHECK(narrow.parameter_count() - dense.parameter_count() ==
        6 * (4 * 3 * 64 * 32 + 3 * 64 * 16 + 4 * 64 - 3 * 64 * 128));
}

TEST_CASE("Mixtral: FLOPs of 4096 tokens") {
  const Slice slice = {.sequence = 4096, .attention = AttentionKernel::Flash};
  const Model dense = llama(4096, 32, 14336, 32, 8, 32000);
  const LayerWork moe = layer_work(mixtral_8x7b(), 1, slice);
  const LayerWork mlp = layer_work(dense, 1, slice);
  // k 6 T h f + 2 T h E = 2886218022912 + 268435456, for the 6 T h f of an MLP.
  CHECK(moe.forward_flops - mlp.forward_flops ==
        Flops(2886486458368.0 - 6.0 * 4096 * 4096 * 14336));
  CHECK(moe.backward_flops - mlp.backward_flops ==
        2 * Flops(2886486458368.0 - 6.0 * 4096 * 4096 * 14336));
  // What runs is what is counted: 1024 rows of each of 8 experts are 2 x 4096.
  const Work in = work_named(moe.forward, "experts_in");
  CHECK(in.batch == 8);
  CHECK(in.kernels == 8);
  CHECK(in.m == 1024);
  CHECK(in.n == 2 * 14336);
  CHECK(in.k == 4096);
  CHECK(exchanges_of(moe.forward).empty());
}

TEST_CASE("Mixtral: dispatch and combine over 8 ranks") {
  const Slice slice = {.sequence = 4096, .attention = AttentionKernel::Flash, .expert = 8};
  const LayerWork work = layer_work(mixtral_8x7b(), 1, slice);
  // k T h 2 bytes = 67108864, of which 7/8 = 58720256 leave: 234881024 in forward and backward.
  using enum CollectiveKind;
  const std::vector<Exchange> both = {{"dispatch", AllToAll, LayerGroup::Expert, 67108864},
                                      {"combine", AllToAll, LayerGroup::Expert, 67108864}};
  CHECK(exchanges_of(work.forward) == both);
  CHECK(exchanges_of(work.backward) == both);  // the gradient of the combine goes out first
  CHECK(exchanges_of(work.backward_weight).empty());
  // One expert here, for the copies of 8 ranks.
  const Work in = work_named(work.forward, "experts_in");
  CHECK(in.batch == 1);
  CHECK(in.m == 8192);
  // As many FLOPs on each rank as without expert parallelism.
  Slice alone = slice;
  alone.expert = 1;
  CHECK(flops_of(work.forward, OpClass::Matmul) ==
        flops_of(layer_work(mixtral_8x7b(), 1, alone).forward, OpClass::Matmul));
  CHECK(work.forward_flops == layer_work(mixtral_8x7b(), 1, alone).forward_flops);
}

TEST_CASE("Experts under tensor parallelism, split or whole") {
  const Model model = mixtral_8x7b();
  Slice slice = {.sequence = 4096,
                 .tensor = 4,
                 .sequence_parallel = true,
                 .attention = AttentionKernel::Flash,
                 .expert = 2,
                 .expert_tensor = 4};
  // A rank has 1024 tokens and sends 2 x 1024 copies of 8192 bytes = 16777216; its 4 experts work
  // on those of 4 x 2 ranks: 8192 rows, 2048 each.
  LayerWork work = layer_work(model, 1, slice);
  using enum CollectiveKind;
  const auto experts = [](const LayerWork& layer) {
    std::vector<Exchange> list = exchanges_of(layer.forward);
    std::erase_if(list, [](const Exchange& one) { return one.group == LayerGroup::Tensor; });
    return list;
  };
  CHECK(experts(work) ==
        std::vector<Exchange>{{"dispatch", AllToAll, LayerGroup::Expert, 16777216},
                              {"dispatch_gather", AllGather, LayerGroup::ExpertTensor, 67108864},
                              {"combine_sum", ReduceScatter, LayerGroup::ExpertTensor, 67108864},
                              {"combine", AllToAll, LayerGroup::Expert, 16777216}});
  CHECK(work_named(work.forward, "experts_in").m == 2048);
  CHECK(work_named(work.forward, "experts_in").n == 2 * 14336 / 4);

  slice.expert = 8;
  slice.expert_tensor = 1;
  work = layer_work(model, 1, slice);
  CHECK(experts(work) ==
        std::vector<Exchange>{{"dispatch", AllToAll, LayerGroup::Expert, 16777216},
                              {"combine", AllToAll, LayerGroup::Expert, 16777216}});
  // One expert, for an eighth of the copies of 8 ranks.
  CHECK(work_named(work.forward, "experts_in").m == 2048);
  CHECK(work_named(work.forward, "experts_in").n == 2 * 14336);
  CHECK(work_named(work.forward, "router").m == 1024);
}

TEST_CASE("Capacity: the experts' rows are padded or dropped to it") {
  const auto rows = [](double experts, double per_token, double factor, int tokens) {
    const Model model =
        mixture(64, 1, 128, 4, 4, 100, experts, per_token, {{"capacity_factor", {factor}}});
    return work_named(layer_work(model, 1, {.sequence = tokens}).forward, "experts_in").m;
  };
  CHECK(rows(8, 2, 1.25, 4096) == 1280);  // ceil(4096 x 2 / 8 x 1.25)
  CHECK(rows(64, 1, 1, 1000) == 16);      // ceil(15.625)
  CHECK(rows(8, 2, 0, 4096) == 1024);     // none is dropped
}

TEST_CASE("Activations of a mixture: the experts' inputs and products, k times") {
  // Against a dense block with the MLP's 2 n h and 6 n f (inputs of both GEMMs, gate and up) there
  // are k as many, 2 n h of the router's input and 5 n E of its choice. n = 512, k = 2, E = 8.
  const Slice slice = {.sequence = 512, .attention = AttentionKernel::Flash};
  const double dense = layer_work(llama(1024, 1, 2048, 8, 8, 100), 1, slice).activation.value;
  const double moe = layer_work(mixture(1024, 1, 2048, 8, 8, 100, 8, 2), 1, slice).activation.value;
  CHECK(moe - dense == 512 * (2 * 1024 + 6 * 2048) + 2 * 512 * 1024 + 5 * 512 * 8);
}

TEST_CASE("Why experts cannot be spread like this") {
  const auto why = [](const Slice& slice) {
    const Model model = mixture(64, 2, 96, 8, 8, 128, 8, 2);
    return model.family->slice_limits(model, slice);
  };
  CHECK(why({.sequence = 8, .expert = 3}) == "expert parallelism 3 does not divide the 8 experts");
  CHECK(why({.sequence = 8, .expert_tensor = 5}) ==
        "expert tensor parallelism 5 does not divide the 96 features of an expert");
  CHECK(why({.sequence = 8, .tensor = 2}) ==
        "a mixture of experts under tensor parallelism needs sequence_parallel, as in Megatron-LM");
  CHECK(why({.sequence = 8, .tensor = 2, .sequence_parallel = true, .expert = 8}).empty());
}

}  // namespace windtunnel

// Parameter counts against the published ones.
#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {

TEST_CASE("GPT parameter counts") {
  // l (12 h^2 + 13 h) + V h + s_max h + 2 h. GPT-2 124M: 12 (7077888 + 9984) + 50257 * 768
  // + 1024 * 768 + 1536 = 85054464 + 38597376 + 786432 + 1536.
  CHECK(gpt(768, 12, 12, 50257, 1024).parameter_count() == 124439808);
  CHECK(gpt(1024, 24, 16, 50257, 1024).parameter_count() == 354823168);
  CHECK(gpt(1280, 36, 20, 50257, 1024).parameter_count() == 774030080);
  CHECK(gpt(1600, 48, 25, 50257, 1024).parameter_count() == 1557611200);
  CHECK(gpt(12288, 96, 96, 50257, 2048).parameter_count() == 174604259328);
  // Padding adds 51200 - 50257 = 943 words of 12288.
  CHECK(gpt3_175b().parameter_count() == 174604259328 + 943 * 12288);
}

TEST_CASE("BLOOM's parameter count is the published 176247271424") {
  const Model bloom = model_of("gpt", {{"hidden", {14336}},
                                       {"layers", {70}},
                                       {"heads", {112}},
                                       {"vocab", {250880}},
                                       {"max_sequence", {2048}},
                                       {"learned_positions", {0}},
                                       {"embedding_layernorm", {1}},
                                       {"dropout", {0}}});
  CHECK(bloom.parameter_count() == 176247271424);
}

TEST_CASE("Llama parameter counts") {
  // l (h a d + 2 h g d + a d h + 3 h f + 2 h) + h + 2 V h.
  CHECK(llama(4096, 32, 11008, 32, 32, 32000).parameter_count() == 6738415616);
  CHECK(llama(5120, 40, 13824, 40, 40, 32000).parameter_count() == 13015864320);
  CHECK(llama(8192, 80, 28672, 64, 8, 32000).parameter_count() == 68976648192);
  CHECK(llama3_8b().parameter_count() == 8030261248);
  CHECK(llama(8192, 80, 28672, 64, 8, 128256).parameter_count() == 70553706496);
  CHECK(llama(16384, 126, 53248, 128, 8, 128256).parameter_count() == 405853388800);
}

TEST_CASE("Nemotron-4's MLP has no gate: 2 h f weights, and a ReLU and a square") {
  const Values values = {{"hidden", {6144}}, {"layers", {32}},    {"ffn", {24576}}, {"heads", {48}},
                         {"kv_heads", {8}},  {"vocab", {256000}}, {"gated", {0}}};
  const Model model = model_of("llama", values);
  // 2 x 256000 x 6144 + 32 x (6144 x (6144 + 2048) + 6144^2 + 2 x 6144 x 24576 + 2 x 6144) + 6144,
  // 15.6e9 as published (arXiv:2402.16819).
  CHECK(model.parameter_count() == 15628376064);
  const Slice slice = {.sequence = 4096, .attention = AttentionKernel::Flash};
  const LayerWork work = layer_work(model, 1, slice);
  const double width = 2.0 * 4096 * 24576;  // bytes
  CHECK(work_named(work.forward, "squared_relu").bytes == Bytes(4 * width));
  CHECK(work_named(work.backward, "squared_relu").bytes == Bytes(10 * width));
  CHECK(work_named(work.forward, "mlp_in").n == 24576);
}

TEST_CASE("BERT parameter counts") {
  // (V + 512 + 2) h + 2 h + l (12 h^2 + 13 h) + h^2 + h.
  CHECK(bert(768, 12, 0).parameter_count() == 109482240);
  CHECK(bert(1024, 24, 0).parameter_count() == 335141888);
  // Pre-training adds h^2 + 3 h (transform and its norm), V (decoder bias) and 2 h + 2.
  CHECK(bert(768, 12, 1).parameter_count() == 110106428);
  CHECK(bert(1024, 24, 1).parameter_count() == 336226108);
}

TEST_CASE("Vision and MLP parameter counts") {
  CHECK(resnet50().parameter_count() == 25557032);
  CHECK(resnet50(0).parameter_count() == 25557032);
  CHECK(vit_b_16().parameter_count() == 86567656);
  // 784 * 4096 + 4096 + 4 (4096^2 + 4096) + 4096 * 10 + 10.
  CHECK(mlp().parameter_count() == 3215360 + 67125248 + 40970);
}

TEST_CASE("A tied head shares the embedding's tensor and counts once") {
  CHECK(gpt3_175b().tied_embeddings());
  CHECK(bert(1024, 24, 1).tied_embeddings());
  CHECK_FALSE(bert(1024, 24, 0).tied_embeddings());
  CHECK_FALSE(llama3_8b().tied_embeddings());
  CHECK_FALSE(vit_b_16().tied_embeddings());
  CHECK_FALSE(resnet50().tied_embeddings());
  CHECK_FALSE(mlp().tied_embeddings());
  CHECK_FALSE(synthetic().tied_embeddings());
  const Model untied = model_of("gpt", {{"hidden", {768}},
                                        {"layers", {12}},
                                        {"heads", {12}},
                                        {"vocab", {50257}},
                                        {"max_sequence", {1024}},
                                        {"tied_embeddings", {0}}});
  CHECK(untied.parameter_count() == 124439808 + 50257 * 768);
}

TEST_CASE("Tensor parallelism splits the tensors of the linears") {
  const Layer block = gpt3_175b().layers[1];
  const std::int64_t h = 12288;
  CHECK(block.parameters() == 12 * h * h + 13 * h);
  // Whole on every rank: two norms (4 h) and the biases of the row-parallel linears (2 h).
  CHECK(block.parameters_per_rank(8) == (12 * h * h + 7 * h) / 8 + 6 * h);
  CHECK(gpt3_175b().layers[0].parameters_per_rank(8) == 51200 / 8 * h + 2048 * h);
}

TEST_CASE("Dimensions that do not fit are refused with the reason") {
  const ModelFamily* family = find_model_family("gpt");
  CHECK(family->limits(parameters_of(*family, {{"hidden", {768}}, {"heads", {11}}})) ==
        "hidden 768 is not a multiple of heads 11");
  const ModelFamily* grouped = find_model_family("llama");
  CHECK(grouped->limits(
            parameters_of(*grouped, {{"hidden", {4096}}, {"heads", {32}}, {"kv_heads", {5}}})) ==
        "heads 32 is not a multiple of kv_heads 5");
  CHECK(grouped->limits(parameters_of(*grouped, {{"hidden", {4096}},
                                                 {"heads", {32}},
                                                 {"experts", {8}},
                                                 {"experts_per_token", {2}},
                                                 {"gated", {0}}})) == "experts have a gate");
  const ModelFamily* bottlenecks = find_model_family("resnet");
  CHECK(bottlenecks->limits(parameters_of(*bottlenecks, {})) == "blocks is empty");
  CHECK(bottlenecks->limits(parameters_of(*bottlenecks, {{"blocks", {1}}, {"width", {5000}}})) ==
        "width 5000 is above 4096");
  const ModelFamily* patches = find_model_family("vit");
  CHECK(patches->limits(parameters_of(
            *patches, {{"hidden", {768}}, {"heads", {12}}, {"patch", {15}}, {"image", {224}}})) ==
        "image 224 is not a multiple of patch 15");
  CHECK(find_model_family("gpt5") == nullptr);
}

TEST_CASE("Slices that do not fit are refused with the reason") {
  const auto limits = [](const Model& model, const Slice& slice) {
    return model.family->slice_limits(model, slice);
  };
  const Model gpt2 = gpt(768, 12, 12, 50257, 1024);
  CHECK(limits(gpt2, {.sequence = 1024}).empty());
  CHECK(limits(gpt2, {.sequence = 1025}) ==
        "a sequence of 1025 tokens, but the model has 1024 learned positions");
  CHECK(limits(gpt2, {.sequence = 1024, .tensor = 8}) ==
        "tensor parallelism 8 does not divide the 12 attention heads");
  CHECK(limits(gpt2, {.sequence = 1024, .tensor = 2}) ==
        "tensor parallelism 2 does not divide the 50257 words of the vocabulary; Megatron-LM pads "
        "it to 50432");
  CHECK(limits(gpt3_175b(), {.sequence = 2048, .tensor = 8, .sequence_parallel = true}).empty());
  CHECK(limits(gpt3_175b(), {.sequence = 2047, .tensor = 8}).empty());
  CHECK(limits(gpt3_175b(), {.sequence = 2047, .tensor = 8, .sequence_parallel = true}) ==
        "tensor parallelism 8 does not divide the 2047 tokens of a sequence (sequence "
        "parallelism)");
  CHECK(limits(llama3_8b(), {.sequence = 8192, .tensor = 16}) ==
        "tensor parallelism 16 does not divide the 8 key-value heads");
  CHECK(limits(resnet50(), {.tensor = 2}) ==
        "models of the family 'resnet' have no tensor parallelism");
  CHECK_FALSE(limits(synthetic(), {.tensor = 2}).empty());
}

namespace {

// DeepSeek-V3 (arXiv:2412.19437, section 4.2), by default without its experts.
Model latent(Values more = {}) {
  Values values = {{"hidden", {7168}},   {"layers", {61}},    {"ffn", {18432}},
                   {"heads", {128}},     {"vocab", {129280}}, {"head_size", {192}},
                   {"rope_size", {64}},  {"kv_rank", {512}},  {"query_rank", {1536}},
                   {"value_size", {128}}};
  values.insert(values.end(), more.begin(), more.end());
  return model_of("llama", values);
}

}  // namespace

TEST_CASE("DeepSeek-V3 has its published parameters") {
  const Model model = latent({{"dense_layers", {3}},
                              {"experts", {256}},
                              {"experts_per_token", {8}},
                              {"expert_ffn", {2048}},
                              {"shared_expert_ffn", {2048}},
                              {"router_bias", {1}}});
  CHECK(model.parameter_count() == 671026419200);        // 671 B
  CHECK(model.active_parameter_count() == 37552297472);  // 37 B, both embeddings counted
}

TEST_CASE("Latent attention: parameters and FLOPs of a layer") {
  // h q_r + q_r + q_r a 192 + h (kv_r + 64) + kv_r + kv_r a (128 + 128) + a 128 h = 187107328.
  const Model model = latent();
  CHECK(model.layers[1].parameters() == 187107328 + 3 * 7168 * 18432 + 2 * 7168);
  // s = 4096: 2 FLOPs a weight and token, but for the norms' 2048, and 2 s s a (192 + 128) of the
  // core.
  const Slice slice = {.sequence = 4096, .attention = AttentionKernel::Flash};
  const LayerWork work = layer_work(model, 1, slice);
  const double weights = 187107328 - 2048 + 3.0 * 7168 * 18432;
  CHECK(work.forward_flops == Flops(2 * 4096 * weights + 2.0 * 4096 * 4096 * 128 * (192 + 128)));
  // Split over 4 ranks: what runs is a quarter each, for the narrow linears by tokens.
  Slice split = slice;
  split.tensor = 4;
  split.sequence_parallel = true;
  CHECK(layer_work(model, 1, split).forward_flops == work.forward_flops);
  CHECK(4 * flops_of(layer_work(model, 1, split).forward, OpClass::Matmul) ==
        flops_of(work.forward, OpClass::Matmul));
}

}  // namespace windtunnel

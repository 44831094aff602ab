// Bytes kept from forward to backward: Korthikanti et al. 2022, arXiv:2205.05198, table 2.
#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

Bytes activation(const Model& model, const Slice& slice) {
  return layer_work(model, 1, slice).activation;
}

}  // namespace

TEST_CASE("GPT-3 layer in bf16, one sequence of 2048") {
  const Model model = gpt3_175b();
  Slice slice = {.sequence = 2048};
  const double sbh = 2048.0 * 12288;                 // 25165824
  const double score_part = 5.0 * 96 * 2048 * 2048;  // 5 a s^2 b = 2013265920
  CHECK(activation(model, slice) == Bytes(34 * sbh + score_part));
  CHECK(activation(model, slice) == Bytes(2868903936));
  slice.tensor = 8;  // s b h (10 + 24 / t) + 5 a s^2 b / t
  CHECK(activation(model, slice) == Bytes(578813952));
  slice.recompute = Recompute::Selective;  // s b h (10 + 24 / t)
  CHECK(activation(model, slice) == Bytes(13 * sbh));
  slice.sequence_parallel = true;  // 34 s b h / t
  CHECK(activation(model, slice) == Bytes(106954752));
  slice.recompute = Recompute::None;  // (34 s b h + 5 a s^2 b) / t
  CHECK(activation(model, slice) == Bytes(358612992));
  slice.attention = AttentionKernel::Flash;  // 34 s b h / t + 4 a s b / t
  CHECK(activation(model, slice) == Bytes(107053056));
  slice.recompute = Recompute::Full;  // 2 s b h / t
  CHECK(activation(model, slice) == Bytes(2 * sbh / 8));
  slice.sequence_parallel = false;  // 2 s b h
  CHECK(activation(model, slice) == Bytes(50331648));
}

TEST_CASE("An eager softmax in fp32 keeps its result besides the cast, and has fp32 gradients") {
  const Model model = llama(4096, 1, 14336, 32, 8, 128256);
  Slice slice = {.sequence = 2048};
  const LayerWork unfused = layer_work(model, 1, slice);
  slice.attention = AttentionKernel::Eager;
  const LayerWork eager = layer_work(model, 1, slice);
  const double scores = 32.0 * 2048 * 2048;
  CHECK((eager.activation - unfused.activation).value == 4 * scores);
  CHECK((eager.working - unfused.working).value == 2 * (4 - 2) * scores);
  slice.recompute = Recompute::Selective;
  CHECK(layer_work(model, 1, slice).activation == unfused.activation - Bytes(2 * scores));
}

TEST_CASE("Layer's worth of the models in figure 1, in GiB") {
  struct Row {
    double hidden, heads, layers;
    int pipeline, chunks, micro_batch;
    double none, selective;
  };
  // The first stage of 1F1B holds as many micro-batches as make up all layers; interleaving
  // multiplies that by 1 + (p - 1) / (p v). 22B: 48 layers of 4 sequences,
  // 48 * 4 * 2048 * 6144 * (10 + 24 / 8 + 5 * 64 * 2048 / (6144 * 8)) bytes = 59.25 GiB.
  const Row rows[] = {{6144, 64, 48, 1, 1, 4, 59.25, 9.5625},
                      {12288, 96, 96, 8, 3, 1, 66.84375, 12.3515625},
                      {20480, 128, 105, 35, 3, 1, 114.0234375, 23.076171875},
                      {25600, 160, 128, 64, 1, 1, 131.25, 26.5625}};
  for (const Row& row : rows) {
    INFO(row.hidden);
    const Model model = gpt(row.hidden, row.layers, row.heads, 51200, 2048);
    const double p = row.pipeline, v = row.chunks;
    const double held = row.layers * (v > 1 ? 1 + (p - 1) / (p * v) : 1);
    Slice slice = {.micro_batch = row.micro_batch, .sequence = 2048, .tensor = 8};
    CHECK(held * activation(model, slice).value / kGiB == Approx(row.none).epsilon(1e-14));
    slice.sequence_parallel = true;
    slice.recompute = Recompute::Selective;
    CHECK(held * activation(model, slice).value / kGiB == Approx(row.selective).epsilon(1e-14));
  }
}

TEST_CASE(
    "Llama layers with flash attention: 2 (2h + ad + 2gd + ad + 2h + 3f) + 4a bytes a token") {
  Slice slice = {.sequence = 8192, .attention = AttentionKernel::Flash};
  CHECK(activation(llama3_8b(), slice) == Bytes(1141899264));
  slice.tensor = 8;
  slice.sequence_parallel = true;
  CHECK(activation(llama(8192, 80, 28672, 64, 8, 128256), slice) == Bytes(281280512));
}

TEST_CASE("Recomputation per operation keeps attention and every second linear") {
  const Slice slice = {
      .sequence = 8192, .attention = AttentionKernel::Flash, .recompute = Recompute::PerOp};
  const LayerWork work = layer_work(llama3_8b(), 1, slice);
  // Input, joined Q, K and V (4096 + 2 x 1024), attention's output, both halves of SwiGLU (2 x
  // 14336): 2 B x 8192 x (4096 + 6144 + 4096 + 28672).
  CHECK(work.activation == Bytes(704643072));
  std::vector<std::string_view> names;
  for (const Piece& piece : work.recompute) names.push_back(piece.name);
  CHECK(names == std::vector<std::string_view>{"attention_norm", "rotary", "projection",
                                               "attention_residual", "mlp_norm", "swiglu",
                                               "mlp_out", "mlp_residual"});
}

TEST_CASE("Recomputation per operation counts linears that are apart") {
  Slice slice = {.sequence = 8192,
                 .attention = AttentionKernel::Flash,
                 .recompute = Recompute::PerOp,
                 .software = find_software("dtensor")};
  const LayerWork work = layer_work(llama3_8b(), 1, slice);
  // Input, Q, V, attention's output, gate, what the block adds to the residual stream: 2 B x 8192 x
  // (4096 + 4096 + 1024 + 4096 + 14336 + 4096).
  CHECK(work.activation == Bytes(520093696));
  std::vector<std::string_view> names;
  std::vector<std::int64_t> widths;
  for (const Piece& piece : work.recompute) {
    names.push_back(piece.name);
    if (const auto& what = std::get<Work>(piece.what); what.op == OpClass::Matmul)
      widths.push_back(what.n);
  }
  CHECK(names == std::vector<std::string_view>{"attention_norm", "qkv", "rotary", "projection",
                                               "attention_residual", "mlp_norm", "mlp_in", "swiglu",
                                               "mlp_residual"});
  CHECK(widths == std::vector<std::int64_t>{1024, 4096, 14336});  // K, projection, up
  // torch.compile sees that no gradient needs the last linear's output.
  slice.kernels = Kernels::Compiled;
  CHECK(layer_work(llama3_8b(), 1, slice).activation == Bytes(520093696 - 2.0 * 8192 * 4096));
}

TEST_CASE("BERT layers keep what GPT layers keep") {
  // s b h (34 + 5 a s / h) = 512 * 1024 * (34 + 5 * 16 * 512 / 1024).
  CHECK(activation(bert(1024, 24, 1), {.sequence = 512}) == Bytes(512.0 * 1024 * 74));
}

TEST_CASE("fp32 doubles what is kept but for the masks") {
  // s b h (2 * 32 + 2) + a s^2 b (2 * 4 + 1): 34 has two bytes of masks, 5 has one.
  const Model model = gpt3_175b();
  const Slice slice = {.sequence = 2048, .type = DType::Fp32};
  CHECK(activation(model, slice) == Bytes(66.0 * 2048 * 12288 + 9.0 * 96 * 2048 * 2048));
}

TEST_CASE("Selective recomputation runs the attention core again: 4 b s^2 h") {
  const Model model = gpt3_175b();
  Slice slice = {.sequence = 2048, .tensor = 8, .recompute = Recompute::Selective};
  const LayerWork work = layer_work(model, 1, slice);
  CHECK(8 * sums_of(work.recompute).flops == Flops(4.0 * 2048 * 2048 * 12288));
  CHECK(work.recompute_buffer == Bytes(5.0 * 96 * 2048 * 2048 / 8));
  slice.attention = AttentionKernel::Flash;
  CHECK(layer_work(model, 1, slice).recompute.empty());
  CHECK(layer_work(model, 1, slice).recompute_buffer == Bytes(0));
}

TEST_CASE("Embedding and head") {
  const Model model = gpt3_175b();
  const double sb = 2048, sbh = sb * 12288;
  // Megatron-LM's theoretical_memory_usage.py: 8-byte token ids and the mask of the dropout;
  // 4 s b h (1 + V / h) for the inputs of the last norm and linear, and the fp32 logits.
  Slice slice = {.sequence = 2048};
  CHECK(layer_work(model, 0, slice).activation == Bytes(8 * sb + sbh));
  CHECK(layer_work(model, 97, slice).activation == Bytes(4 * sbh));
  CHECK(layer_work(model, 97, slice).logits == Bytes(4 * sb * 51200));
  slice.tensor = 8;
  slice.sequence_parallel = true;
  slice.recompute = Recompute::Full;  // not for them
  CHECK(layer_work(model, 0, slice).activation == Bytes(8 * sb + sbh / 8));
  CHECK(layer_work(model, 97, slice).activation == Bytes(4 * sbh / 8));
  CHECK(layer_work(model, 97, slice).logits == Bytes(52428800));
  CHECK(layer_work(model, 97, slice).recompute.empty());
  CHECK(layer_work(model, 1, slice).output == Bytes(2 * sbh / 8));
}

TEST_CASE("ResNet-50 keeps the inputs of convolutions and norms") {
  const Model model = resnet50();
  const Slice slice = {.type = DType::Fp32};
  // layer1.1: input 256 * 56^2 (reduce), then two times 64 * 56^2 as norm input and as ReLU output,
  // 256 * 56^2 (norm of expand): (2 * 256 + 4 * 64) * 56^2 * 4 bytes.
  CHECK(layer_work(model, 2, slice).activation == Bytes(768.0 * 56 * 56 * 4));
  // conv1: image, norm input and ReLU output, and the indices of the pooling.
  CHECK(layer_work(model, 0, slice).activation ==
        Bytes(4 * (3.0 * 224 * 224 + 2 * 64.0 * 112 * 112) + 8 * 64.0 * 56 * 56));
  Bytes all;
  for (int i = 0; i < int(model.layers.size()); ++i) all += layer_work(model, i, slice).activation;
  // Norm inputs (the 11.1 M outputs of the convolutions) and nearly as many ReLU outputs.
  CHECK(all.value / 1e6 == Approx(85).margin(5));
}

TEST_CASE("Fused kernels of ResNet run ReLU and the shortcut's sum with the batch norm") {
  const Model model = resnet50();
  const auto bytes_forward = [&](Kernels kernels) {
    double bytes = 0;
    for (const Piece& piece : layer_work(model, 2, {.kernels = kernels}).forward)
      if (const auto* work = std::get_if<Work>(&piece.what); work->op == OpClass::Elementwise)
        bytes += work->bytes.value;
    return bytes;
  };
  // The second block of the first stage, 56 x 56: outputs of 64, 64 and 256 channels. Norms 3 each;
  // apart, ReLUs 2 each and the sum 3; fused, the sum reads one more.
  const double image = 2.0 * 56 * 56, norms = 3 * (64 + 64 + 256);
  CHECK(bytes_forward(Kernels::Eager) == image * (norms + 2 * (64 + 64 + 256) + 3 * 256));
  CHECK(bytes_forward(Kernels::Fused) == image * (norms + 256));
}

TEST_CASE("fp8 halves what linears keep; attention keeps its own output, the gate's halves stay") {
  // In bf16 (above) 139392 bytes a token. Inputs of the four linears: h, a d, h and f bytes less;
  // attention's output, so far the projection's input alone: 2 a d more.
  const Slice slice = {.sequence = 8192, .type = DType::Fp8, .attention = AttentionKernel::Flash};
  CHECK(activation(llama3_8b(), slice) ==
        Bytes(8192.0 * (139392 - 4096 - 4096 - 4096 - 14336 + 2 * 4096)));
  // Unfused attention keeps no output: its backward starts from the scores.
  const Model model = gpt3_175b();
  const double sbh = 2048.0 * 12288;
  CHECK(activation(model, {.sequence = 2048, .type = DType::Fp8}) ==
        Bytes((34 - 7) * sbh + 5.0 * 96 * 2048 * 2048));
}

TEST_CASE("fp4 keeps 4.5 bits of what linears keep") {
  // In bf16 139392 bytes a token, 2 of each input of the four linears.
  const Slice slice = {.sequence = 8192, .type = DType::Fp4, .attention = AttentionKernel::Flash};
  const double inputs = 4096 + 4096 + 4096 + 14336, saved = (2 - 0.5625) * inputs;
  CHECK(activation(llama3_8b(), slice) == Bytes(8192.0 * (139392 - saved + 2 * 4096)));
}

TEST_CASE("In an fp8 job the linears are fp8, attention and logits stay in bf16") {
  const Model model = llama3_8b();
  const int head = int(model.layers.size()) - 1;
  for (const AttentionKernel attention : {AttentionKernel::Flash, AttentionKernel::Unfused}) {
    const Slice slice = {.sequence = 2048, .type = DType::Fp8, .attention = attention};
    for (const int layer : {1, head})
      for (const Piece& piece : layer_work(model, layer, slice).backward) {
        const auto* work = std::get_if<Work>(&piece.what);
        if (!work || work->flops.value == 0) continue;
        const bool linear = layer == 1 && work->op == OpClass::Matmul && work->batch == 1;
        INFO(piece.name);
        CHECK(work->format == (linear ? std::nullopt : std::optional(DType::Bf16)));
      }
  }
}

}  // namespace windtunnel

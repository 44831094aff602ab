// Traffic of tensor parallelism: what a rank sends with ring collectives.
#include <algorithm>
#include <iterator>
#include <tuple>

#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

struct Expected {
  CollectiveKind kind;
  bool overlaps_next;
  bool operator==(const Expected&) const = default;
};

std::vector<Expected> collectives_of(const std::vector<Piece>& pieces) {
  std::vector<Expected> list;
  for (const Piece& piece : pieces)
    if (const auto* collective = std::get_if<LayerCollective>(&piece.what))
      list.push_back({collective->kind, collective->overlaps_next});
  return list;
}

std::vector<std::string_view> names_of(const std::vector<Piece>& pieces) {
  std::vector<std::string_view> names;
  for (const Piece& piece : pieces) names.push_back(piece.name);
  return names;
}

}  // namespace

TEST_CASE("GPT-3 layer, b = 1, s = 2048, t = 8: bytes sent") {
  const Model model = gpt3_175b();
  // M = 2 s b h = 50331648. One all-gather or reduce-scatter sends 7/8 M = 44040192.
  Slice slice = {.sequence = 2048, .tensor = 8};
  LayerWork work = layer_work(model, 1, slice);
  CHECK(sums_of(work.forward, 8).sent == Bytes(176160768));   // 2 all-reduces
  CHECK(sums_of(work.backward, 8).sent == Bytes(176160768));  // 2 all-reduces, sum 352321536
  slice.recompute = Recompute::Full;
  work = layer_work(model, 1, slice);
  CHECK(sums_of(work.forward, 8).sent + sums_of(work.backward, 8).sent +
            sums_of(work.recompute, 8).sent ==
        Bytes(528482304));
  slice.sequence_parallel = true;
  work = layer_work(model, 1, slice);
  CHECK(sums_of(work.forward, 8).sent == Bytes(176160768));  // 2 all-gathers, 2 reduce-scatters
  // 4 all-gathers, 2 reduce-scatters: 6 * 44040192; the sum is 440401920.
  CHECK(sums_of(work.backward, 8).sent == Bytes(440401920 - 176160768));
}

TEST_CASE("Order and overlap of a layer's collectives") {
  using enum CollectiveKind;
  const Model model = gpt3_175b();
  Slice slice = {.sequence = 2048, .tensor = 8};
  LayerWork work = layer_work(model, 1, slice);
  CHECK(collectives_of(work.forward) ==
        std::vector<Expected>{{AllReduce, false}, {AllReduce, false}});
  CHECK(collectives_of(work.backward) ==
        std::vector<Expected>{{AllReduce, true}, {AllReduce, true}});
  CHECK(collectives_of(work.backward_input) ==
        std::vector<Expected>{{AllReduce, false}, {AllReduce, false}});
  CHECK(collectives_of(work.backward_weight).empty());

  slice.sequence_parallel = true;
  work = layer_work(model, 1, slice);
  CHECK(collectives_of(work.forward) == std::vector<Expected>{{AllGather, false},
                                                              {ReduceScatter, false},
                                                              {AllGather, false},
                                                              {ReduceScatter, false}});
  // Row-parallel: gather dY. Column-parallel: gather the kept input, then scatter the sum of dX.
  CHECK(collectives_of(work.backward) == std::vector<Expected>{{AllGather, false},
                                                               {AllGather, true},
                                                               {ReduceScatter, true},
                                                               {AllGather, false},
                                                               {AllGather, true},
                                                               {ReduceScatter, true}});
  CHECK(collectives_of(work.backward_weight) ==
        std::vector<Expected>{{AllGather, false}, {AllGather, false}});
}

TEST_CASE("The pieces of a layer in order") {
  const Model model = gpt3_175b();
  const LayerWork work = layer_work(model, 1, {.sequence = 2048, .tensor = 8});
  CHECK(names_of(work.forward) ==
        std::vector<std::string_view>{"attention_norm", "qkv", "scores", "softmax",
                                      "attention_dropout", "values", "merge_heads", "projection",
                                      "sum_output", "attention_residual", "mlp_norm", "mlp_in",
                                      "gelu", "mlp_out", "sum_output", "mlp_residual"});
  CHECK(names_of(work.backward) == std::vector<std::string_view>{"mlp_residual",
                                                                 "mlp_out.bias_gradient",
                                                                 "mlp_out.input_gradient",
                                                                 "mlp_out.weight_gradient",
                                                                 "gelu",
                                                                 "mlp_in.bias_gradient",
                                                                 "mlp_in.input_gradient",
                                                                 "sum_gradient",
                                                                 "mlp_in.weight_gradient",
                                                                 "mlp_norm",
                                                                 "attention_residual",
                                                                 "projection.bias_gradient",
                                                                 "projection.input_gradient",
                                                                 "projection.weight_gradient",
                                                                 "merge_heads",
                                                                 "values.input_gradient",
                                                                 "values.weight_gradient",
                                                                 "attention_dropout",
                                                                 "softmax",
                                                                 "scores.query_gradient",
                                                                 "scores.key_gradient",
                                                                 "join_gradients",
                                                                 "qkv.bias_gradient",
                                                                 "qkv.input_gradient",
                                                                 "sum_gradient",
                                                                 "qkv.weight_gradient",
                                                                 "attention_norm"});
  CHECK(names_of(work.backward_weight) ==
        std::vector<std::string_view>{"mlp_out.bias_gradient", "mlp_out.weight_gradient",
                                      "mlp_in.bias_gradient", "mlp_in.weight_gradient",
                                      "projection.bias_gradient", "projection.weight_gradient",
                                      "qkv.bias_gradient", "qkv.weight_gradient"});
}

TEST_CASE("sums that are waited for") {
  using enum CollectiveKind;
  const Model model = gpt3_175b();
  for (const char* name : {"megatron-2021", "deepspeed", "megatron"}) {
    INFO(name);
    const Slice slice = {.sequence = 2048, .tensor = 8, .software = find_software(name)};
    const bool beside = std::string_view(name) == "megatron";
    CHECK(collectives_of(layer_work(model, 1, slice).backward) ==
          std::vector<Expected>{{AllReduce, beside}, {AllReduce, beside}});
  }
}

TEST_CASE("linears beside each other: GEMMs of their own, and sums of their own or one") {
  using enum CollectiveKind;
  const Model model = llama3_8b();
  Slice slice = {.sequence = 8192, .tensor = 8, .attention = AttentionKernel::Flash};
  const auto backward = [&](const char* software) {
    slice.software = find_software(software);
    return layer_work(model, 1, slice).backward;
  };
  const auto count = [](const std::vector<Piece>& pieces, std::string_view name) {
    return std::count_if(pieces.begin(), pieces.end(),
                         [name](const Piece& piece) { return piece.name == name; });
  };
  struct Row {
    const char* software;
    int qkv, gate, sums;
  };
  for (const Row& row : {Row{"megatron", 1, 1, 2}, Row{"dtensor", 3, 2, 2},
                         Row{"internevo", 1, 2, 3}, Row{"aleph-alpha-scaling", 1, 2, 3}}) {
    INFO(row.software);
    const std::vector<Piece> pieces = backward(row.software);
    CHECK(count(pieces, "qkv.input_gradient") == row.qkv);
    CHECK(count(pieces, "qkv.weight_gradient") == row.qkv);
    CHECK(count(pieces, "mlp_in.input_gradient") == row.gate);
    CHECK(count(pieces, "mlp_in.weight_gradient") == row.gate);
    CHECK(count(pieces, "add_gradients") == row.qkv - 1 + row.gate - 1);
    CHECK(count(pieces, "sum_gradient") == row.sums);
    // The same FLOPs as joined.
    Slice joined = slice;
    joined.software = find_software("megatron");
    const LayerWork apart = layer_work(model, 1, slice), one = layer_work(model, 1, joined);
    CHECK(sums_of(apart.forward).flops == sums_of(one.forward).flops);
    CHECK(sums_of(apart.backward).flops == sums_of(one.backward).flops);
  }
  // With sequence parallelism each of InternEvo's gathers its input; Aleph Alpha's norm has
  // gathered it for both.
  slice.sequence_parallel = true;
  CHECK(count(backward("internevo"), "gather_input") == 3);
  CHECK(count(backward("internevo"), "sum_gradient") == 3);
  CHECK(count(backward("aleph-alpha-scaling"), "sum_gradient") == 2);
}

TEST_CASE("cross entropy: bytes of a logit, kernels and collectives of every kind") {
  struct Row {
    double forward, backward, kept, most;
    int forward_kernels, backward_kernels, sums;
  };
  // Megatron-LM's: cast 2 + 4, maximum 4, exponentials 20, division 8; scaling 8, cast 6. Compiled:
  // cast 6, exponentials 8, division 8; scaling with the cast 4 + 6. Fused: read; read, written. In
  // place: read twice, written; read, written.
  const Row rows[] = {{38, 14, 4, 6, 18, 7, 3},
                      {22, 10, 4, 6, 5, 2, 2},
                      {2, 4, 2, 4, 1, 1, 1},
                      {6, 4, 2, 2, 2, 1, 1}};
  static_assert(std::size(rows) == kCrossEntropyNames.size());
  const Model model = llama3_8b();
  const double logits = 8192.0 * 128256 / 8;
  for (std::size_t kind = 0; kind < kCrossEntropyNames.size(); ++kind) {
    INFO(kCrossEntropyNames[kind]);
    const LayerWork work = layer_work(model, 33,
                                      {.sequence = 8192,
                                       .tensor = 8,
                                       .software = find_software("megatron"),
                                       .cross_entropy = CrossEntropy(kind)});
    const auto total = [&](const std::vector<Piece>& pieces) {
      Work sum = {.kernels = 0};
      int collectives = 0;
      for (const Piece& piece : pieces) {
        if (piece.name.substr(0, 4) != "loss") continue;
        if (const auto* one = std::get_if<Work>(&piece.what)) {
          sum.bytes += one->bytes;
          sum.kernels += one->kernels;
        } else {
          ++collectives;
        }
      }
      return std::tuple(sum.bytes.value / logits, sum.kernels, collectives);
    };
    const Row& row = rows[kind];
    CHECK(total(work.forward) == std::tuple(row.forward, row.forward_kernels, row.sums));
    CHECK(total(work.backward) == std::tuple(row.backward, row.backward_kernels, 0));
    CHECK(work.logits == Bytes(row.kept * logits));
    CHECK(work.working == Bytes((row.most - row.kept) * logits));
  }
}

TEST_CASE("cross entropy of fp32 logits: nothing is cast") {
  const Model model = gpt(64, 1, 4, 128, 32);
  const auto bytes = [&](CrossEntropy kind, bool backward) {
    const LayerWork work =
        layer_work(model, 2, {.sequence = 32, .type = DType::Fp32, .cross_entropy = kind});
    double sum = 0;
    for (const Piece& piece : backward ? work.backward : work.forward)
      if (piece.name.substr(0, 4) == "loss") sum += std::get<Work>(piece.what).bytes.value;
    return sum / (32 * 128);
  };
  CHECK(bytes(CrossEntropy::Unfused, false) == 4 + 20 + 8);
  CHECK(bytes(CrossEntropy::Unfused, true) == 8);
  CHECK(bytes(CrossEntropy::Compiled, false) == 4 + 8 + 8);
  CHECK(bytes(CrossEntropy::Compiled, true) == 8);
  CHECK(bytes(CrossEntropy::Fused, false) == 4);
  CHECK(bytes(CrossEntropy::Fused, true) == 8);
}

TEST_CASE("Composer logs two losses of every micro-batch: 2 (cast 6 + log-softmax 8) bytes") {
  const Model model = gpt(64, 1, 4, 128, 32);
  const Slice slice = {.sequence = 32, .software = find_software("composer")};
  const LayerWork work = layer_work(model, 2, slice);
  CHECK(work.forward.back().name == "logged_losses");
  CHECK(std::get<Work>(work.forward.back().what).bytes == Bytes(2 * (6.0 + 8) * 32 * 128));
  CHECK(std::get<Work>(work.forward.back().what).kernels == 6);
}

TEST_CASE("the batch first: a copy beside every collective of sequence parallelism") {
  using enum CollectiveKind;
  const Model model = llama3_8b();
  const Slice slice = {.micro_batch = 2,
                       .sequence = 8192,
                       .tensor = 8,
                       .sequence_parallel = true,
                       .attention = AttentionKernel::Flash,
                       .recompute = Recompute::PerOp,
                       .software = find_software("dtensor")};
  const LayerWork work = layer_work(model, 1, slice);
  CHECK(names_of(work.forward) == std::vector<std::string_view>{"attention_norm",
                                                                "gather_input",
                                                                "arrange_gathered",
                                                                "qkv",
                                                                "qkv",
                                                                "qkv",
                                                                "rotary",
                                                                "attention",
                                                                "projection",
                                                                "arrange_scattered",
                                                                "sum_output",
                                                                "attention_residual",
                                                                "mlp_norm",
                                                                "gather_input",
                                                                "arrange_gathered",
                                                                "mlp_in",
                                                                "mlp_in",
                                                                "swiglu",
                                                                "mlp_out",
                                                                "arrange_scattered",
                                                                "sum_output",
                                                                "mlp_residual"});
  // Neither is an input gathered again nor runs anything beside a collective.
  CHECK(collectives_of(work.backward) == std::vector<Expected>{{AllGather, false},
                                                               {ReduceScatter, false},
                                                               {AllGather, false},
                                                               {ReduceScatter, false}});
  const LayerWork embedding = layer_work(model, 0, slice);
  CHECK(names_of(embedding.forward) ==
        std::vector<std::string_view>{"embedding", "arrange_scattered", "embedding.sum"});
  CHECK(names_of(embedding.backward) == std::vector<std::string_view>{"embedding.gather",
                                                                      "arrange_gathered",
                                                                      "embedding.weight_gradient"});
  // Every second of Q, K, V, projection, gate, up and mlp_out is kept; K, projection and up run
  // again, the projection without its sum.
  CHECK(names_of(work.recompute) ==
        std::vector<std::string_view>{"attention_norm", "gather_input", "arrange_gathered", "qkv",
                                      "rotary", "projection", "attention_residual", "mlp_norm",
                                      "gather_input", "arrange_gathered", "mlp_in", "swiglu",
                                      "mlp_residual"});
  for (const Piece& piece : work.forward)
    if (piece.name == "arrange_gathered" || piece.name == "arrange_scattered")
      CHECK(std::get<Work>(piece.what).bytes ==
            Bytes(2 * 2.0 * 2 * 8192 * 4096));  // read and written, bf16, 2 samples
}

TEST_CASE("fp8: casts and transpositions around the GEMMs, and inputs gathered in fp8") {
  const Model model = llama3_8b();
  Slice slice = {.sequence = 8192,
                 .tensor = 8,
                 .sequence_parallel = true,
                 .type = DType::Fp8,
                 .attention = AttentionKernel::Flash};
  const LayerWork work = layer_work(model, 1, slice);
  // The norms write fp8 themselves.
  CHECK(names_of(work.forward) ==
        std::vector<std::string_view>{
            "attention_norm", "gather_input", "qkv", "rotary", "attention", "cast_input",
            "projection", "sum_output", "attention_residual", "mlp_norm", "gather_input", "mlp_in",
            "swiglu", "cast_input", "mlp_out", "sum_output", "mlp_residual"});
  const std::vector<std::string_view> backward = names_of(work.backward);
  CHECK(std::vector(backward.begin() + 1, backward.begin() + 15) ==
        std::vector<std::string_view>{
            "cast_gradient", "gather_gradient", "mlp_out.input_gradient", "transpose_gradient",
            "transpose_input", "mlp_out.weight_gradient", "swiglu", "cast_transpose_gradient",
            "gather_input", "mlp_in.input_gradient", "transpose_input", "sum_gradient",
            "mlp_in.weight_gradient", "mlp_norm"});
  CHECK(names_of(work.backward_weight) ==
        std::vector<std::string_view>{"transpose_gradient", "transpose_input",
                                      "mlp_out.weight_gradient", "gather_input", "transpose_input",
                                      "mlp_in.weight_gradient", "transpose_gradient",
                                      "transpose_input", "projection.weight_gradient",
                                      "gather_input", "transpose_input", "qkv.weight_gradient"});
  // Elements of the hidden state n = s h. Forward: 2 gathers of n, 2 scatters of 2 n bytes;
  // backward 4 gathers of n (2 of dY, 2 again of inputs) and 2 scatters of 2 n.
  const double n = 8192.0 * 4096;
  CHECK(sums_of(work.forward, 8).sent == Bytes(7.0 / 8 * (2 * n + 2 * 2 * n)));
  CHECK(sums_of(work.backward, 8).sent == Bytes(7.0 / 8 * (4 * n + 2 * 2 * n)));
  // Bytes an element: cast 2 + 1, both ways 2 + 1 + 1, transposition 1 + 1; f = 14336.
  CHECK(work_named(work.forward, "cast_input").bytes == Bytes(3 * n / 8));
  CHECK(work_named(work.backward, "cast_gradient").bytes == Bytes(3 * n / 8));
  CHECK(work_named(work.backward, "transpose_gradient").bytes == Bytes(2 * n));
  slice.sequence_parallel = false;
  const LayerWork whole = layer_work(model, 1, slice);
  CHECK(sums_of(whole.forward, 8).sent == Bytes(7.0 / 8 * 2 * 2 * 2 * n));  // 2 all-reduces, bf16
  CHECK(work_named(whole.forward, "cast_transpose_input").bytes == Bytes(4 * n / 8));
  CHECK(work_named(whole.backward, "cast_transpose_gradient").bytes == Bytes(4 * n));
  const std::vector<std::string_view> names = names_of(whole.backward);
  CHECK(std::count(names.begin(), names.end(), "transpose_gradient") == 0);
  CHECK(std::count(names.begin(), names.end(), "transpose_input") == 2);  // what the norms wrote
}

TEST_CASE("fp4: every operand is read three times and written both ways, and gathered as it is") {
  const Model model = llama3_8b();
  Slice slice = {.sequence = 8192,
                 .tensor = 8,
                 .sequence_parallel = true,
                 .type = DType::Fp4,
                 .attention = AttentionKernel::Flash};
  const LayerWork work = layer_work(model, 1, slice);
  CHECK(names_of(work.forward) ==
        std::vector<std::string_view>{
            "attention_norm", "cast_transpose_input", "gather_input", "qkv", "rotary", "attention",
            "cast_transpose_input", "projection", "sum_output", "attention_residual", "mlp_norm",
            "cast_transpose_input", "gather_input", "mlp_in", "swiglu", "cast_transpose_input",
            "mlp_out", "sum_output", "mlp_residual"});
  const std::vector<std::string_view> backward = names_of(work.backward);
  CHECK(std::count(backward.begin(), backward.end(), "cast_transpose_gradient") == 4);
  CHECK(std::count(backward.begin(), backward.end(), "transpose_input") == 0);
  // n = s h elements. Amax, rows, rotated columns: 3 x 2 bytes read, 2 x 0.5625 written.
  const double n = 8192.0 * 4096;
  CHECK(work_named(work.forward, "cast_transpose_input").bytes == Bytes(7.125 * n / 8));
  CHECK(work_named(work.forward, "cast_transpose_input").kernels == 3);
  CHECK(work_named(work.backward, "cast_transpose_gradient").bytes == Bytes(7.125 * n / 8));
  // 2 gathers of 0.5625 n, 2 scatters of 2 n; backward 4 gathers.
  CHECK(sums_of(work.forward, 8).sent == Bytes(7.0 / 8 * (2 * 0.5625 * n + 2 * 2 * n)));
  CHECK(sums_of(work.backward, 8).sent == Bytes(7.0 / 8 * (4 * 0.5625 * n + 2 * 2 * n)));
}

TEST_CASE("Embedding and head, t = 8") {
  const Model model = gpt3_175b();
  const Bytes unit(44040192);
  Slice slice = {.sequence = 2048, .tensor = 8};
  CHECK(sums_of(layer_work(model, 0, slice).forward, 8).sent == 2 * unit);
  CHECK(sums_of(layer_work(model, 0, slice).backward, 8).sent == Bytes(0));
  // Three all-reduces of 2048 fp32: 3 * 2 * 7/8 * 8192 = 43008.
  CHECK(sums_of(layer_work(model, 97, slice).forward, 8).sent == Bytes(43008));
  CHECK(sums_of(layer_work(model, 97, slice).backward, 8).sent == 2 * unit);
  slice.sequence_parallel = true;
  CHECK(sums_of(layer_work(model, 0, slice).forward, 8).sent == unit);
  CHECK(sums_of(layer_work(model, 0, slice).backward, 8).sent == unit);
  CHECK(sums_of(layer_work(model, 97, slice).forward, 8).sent == unit + Bytes(43008));
  CHECK(sums_of(layer_work(model, 97, slice).backward, 8).sent == 2 * unit);
}

// 4096 tokens, 128 heads, a shared key of 64 features; bf16.
TEST_CASE("Latent attention shares the key of all heads with the tensor-parallel ranks") {
  const Model model = model_of("llama", {{"hidden", {7168}},
                                         {"layers", {1}},
                                         {"heads", {128}},
                                         {"ffn", {18432}},
                                         {"vocab", {129280}},
                                         {"head_size", {192}},
                                         {"rope_size", {64}},
                                         {"value_size", {128}},
                                         {"kv_rank", {512}}});
  Slice slice = {.sequence = 4096, .tensor = 4, .attention = AttentionKernel::Flash};
  const auto size_of = [&](std::string_view name, const std::vector<Piece>& pieces) {
    Bytes size;
    for (const Piece& piece : pieces)
      if (piece.name == name) size += std::get<LayerCollective>(piece.what).size;
    return size;
  };
  const Bytes keys(2.0 * 4096 * 64);
  LayerWork work = layer_work(model, 1, slice);
  CHECK(size_of("gather_shared_key", work.forward) == Bytes(0));
  CHECK(size_of("sum_shared_key", work.backward) == keys);
  slice.sequence_parallel = true;
  work = layer_work(model, 1, slice);
  CHECK(size_of("gather_shared_key", work.forward) == keys);
  CHECK(size_of("sum_shared_key", work.backward) == keys);
  slice.tensor = 1;
  work = layer_work(model, 1, slice);
  CHECK(size_of("sum_shared_key", work.backward) == Bytes(0));
}

}  // namespace windtunnel

// Adapters (LoRA): what is trained, what runs beside frozen linears and what does not.
#include <algorithm>
#include <set>
#include <string>

#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

const Values kLlama2 = llama_values(8192, 80, 28672, 64, 8, 32000);
const Values kAttention = {{"lora_qkv", {1}}, {"lora_projection", {1}}};

Slice slice_of(int tensor, bool sequence_parallel, DType type = DType::Bf16) {
  return {.micro_batch = 1,
          .sequence = 8192,
          .tensor = tensor,
          .sequence_parallel = sequence_parallel,
          .type = type,
          .attention = AttentionKernel::Flash};
}

std::multiset<std::string> names_of(const std::vector<Piece>& pieces) {
  std::multiset<std::string> names;
  for (const Piece& piece : pieces) names.insert(std::string(piece.name));
  return names;
}

LayerCollective collective_named(const std::vector<Piece>& pieces, std::string_view name) {
  for (const Piece& piece : pieces)
    if (piece.name == name) return std::get<LayerCollective>(piece.what);
  FAIL("no piece " << name);
  return {};
}

}  // namespace

TEST_CASE("Adapters: 44.56 M of Llama 2 70B are trained in MLPerf's benchmark") {
  const Model model = with_adapters(kLlama2, 16, kAttention);
  // 16 x ((8192 + 10240) + (8192 + 8192)) a block.
  CHECK(model.trained_parameter_count() == 80 * 16 * ((8192 + 10240) + (8192 + 8192)));
  CHECK(model.trained_parameter_count() == 44'564'480);
  CHECK(model.parameter_count() == 68'976'648'192 + 44'564'480);
  const Model whole = model_of("llama", kLlama2);
  CHECK(whole.trained_parameter_count() == whole.parameter_count());
  for (const Layer& layer : model.layers)
    for (const Tensor& tensor : layer.tensors)
      CHECK(tensor.frozen == (tensor.name.find("adapter") == std::string::npos));
}

TEST_CASE("Adapters: with tied words nothing but them is trained") {
  Values values = kLlama2;
  values.push_back({"tied_embeddings", {1}});
  CHECK(with_adapters(values, 16, kAttention).trained_parameter_count() == 44'564'480);
  CHECK(model_of("llama", values).trained_parameter_count() ==
        model_of("llama", values).parameter_count());
}

TEST_CASE("Adapters: a frozen model runs backward what it runs forward, and attention twice that") {
  const Model model = with_adapters(kLlama2, 16, kAttention);
  const double s = 8192, blocks = 80;
  const double linears = 2 * s * (8192 * 10240. + 8192 * 8192. + 3 * 8192 * 28672.);
  const double adapters = 2 * s * 16 * (8192 + 10240. + 8192 + 8192.);
  const double square = 4 * s * s * 8192, head = 2 * s * 8192 * 32000.;
  for (const int tensor : {1, 4}) {
    const auto [forward, backward] = counted_flops(model, slice_of(tensor, tensor > 1));
    CHECK(forward.value == Approx(blocks * (linears + adapters + square) + head));
    CHECK(backward.value == Approx(blocks * (linears + 2 * adapters + 2 * square) + head));
  }
  // MLPerf's submissions count 2,598 TFLOP a sample, twice the forward pass.
  CHECK(2 * counted_flops(model, slice_of(1, false)).first.value == Approx(2598e12).epsilon(0.005));
}

TEST_CASE("Adapters: only theirs are weight gradients") {
  const LayerWork work = layer_work(with_adapters(kLlama2, 16, kAttention), 1, slice_of(1, false));
  CHECK(names_of(work.backward_weight) ==
        std::multiset<std::string>{"adapter_in.weight_gradient", "adapter_out.weight_gradient",
                                   "adapter_in.weight_gradient", "adapter_out.weight_gradient"});
  for (const char* name : {"qkv.weight_gradient", "mlp_in.weight_gradient"})
    CHECK(names_of(work.backward).count(name) == 0);
  const Model model = with_adapters(kLlama2, 16, kAttention);
  CHECK(layer_work(model, 0, slice_of(1, false)).backward.empty());
  CHECK(names_of(layer_work(model, 81, slice_of(1, false)).backward_weight).empty());
}

TEST_CASE("Adapters: operands of frozen linears are cast one way") {
  const Model model = with_adapters(kLlama2, 16, kAttention);
  const double n = 8192.0 * 8192;
  // fp8: 2 read, 1 written; the norms write theirs themselves.
  const LayerWork fp8 = layer_work(model, 1, slice_of(1, false, DType::Fp8));
  CHECK(names_of(fp8.forward).count("cast_transpose_input") == 0);
  CHECK(work_named(fp8.forward, "cast_input").bytes.value == Approx(3 * n));
  CHECK(work_named(fp8.backward, "cast_gradient").bytes.value == Approx(3 * n));
  // fp4: amax 2, 2 read, 0.5625 written.
  const LayerWork fp4 = layer_work(model, 1, slice_of(1, false, DType::Fp4));
  CHECK(work_named(fp4.forward, "cast_input").bytes.value == Approx(4.5625 * n));
  CHECK(work_named(fp4.forward, "cast_input").kernels == 2);
  CHECK(names_of(fp4.backward).count("cast_transpose_gradient") == 0);
}

TEST_CASE("Adapters: kernels beside one linear") {
  const Model model = with_adapters(kLlama2, 16, {{"lora_qkv", {1}}, {"lora_dropout", {1}}});
  const LayerWork work = layer_work(model, 1, slice_of(1, false, DType::Fp8));
  const double s = 8192;
  // Dropout reads and writes 2 bytes each and a mask of one; scale 4 and sum 6 bytes a feature.
  CHECK(work_named(work.forward, "adapter.dropout").bytes.value == Approx(5 * s * 8192));
  CHECK(work_named(work.forward, "adapter.add").bytes.value == Approx(10 * s * 10240));
  const Work down = work_named(work.forward, "adapter_in");
  CHECK(down.flops.value == Approx(2 * s * 8192 * 16));
  CHECK(down.format == DType::Bf16);  // whatever the job's
  CHECK(work_named(work.backward, "adapter_out.input_gradient").flops.value ==
        Approx(2 * s * 16 * 10240));
}

TEST_CASE("Adapters under tensor parallelism") {
  const Model model = with_adapters(kLlama2, 16, kAttention);
  const LayerWork work = layer_work(model, 1, slice_of(4, true));
  // Beside columns A is split and its 16 features gathered, beside rows it sums them; then tokens
  // for features: 2 bytes of 8192 x 8192 / 4.
  std::vector<LayerCollective> narrow;
  for (const Piece& piece : work.forward)
    if (piece.name == "adapter.rank") narrow.push_back(std::get<LayerCollective>(piece.what));
  REQUIRE(narrow.size() == 2);
  CHECK(narrow[0].kind == CollectiveKind::AllGather);
  CHECK(narrow[1].kind == CollectiveKind::AllReduce);
  for (const LayerCollective& collective : narrow)
    CHECK(collective.size.value == Approx(2.0 * 8192 * 16));
  const LayerCollective tokens = collective_named(work.forward, "adapter.tokens");
  CHECK(tokens.kind == CollectiveKind::AllToAll);
  CHECK(tokens.size.value == Approx(2.0 * 8192 * 8192 / 4));
  CHECK(work_named(work.forward, "adapter_in").flops.value == Approx(2.0 * 8192 * 8192 * 16 / 4));
  // Without sequence parallelism every rank needs all features, and nothing on the way back.
  const LayerWork whole = layer_work(model, 1, slice_of(4, false));
  CHECK(collective_named(whole.forward, "adapter.gather").size.value == Approx(2.0 * 8192 * 8192));
  CHECK(names_of(whole.backward).count("adapter.gather") == 0);
  CHECK(model.family->slice_limits(model, slice_of(1, false)).empty());
  CHECK(with_adapters(kLlama2, 2, kAttention)
            .family->slice_limits(with_adapters(kLlama2, 2, kAttention), slice_of(4, false)) ==
        "tensor parallelism 4 does not divide the 2 ranks of the adapters (lora_rank)");
}

TEST_CASE("Adapters: what a block keeps") {
  const Slice slice = slice_of(1, false);
  const Model whole = model_of("llama", kLlama2);
  const double s = 8192, e = 2;
  const double all = layer_work(whole, 1, slice).activation.value;
  // The inputs of four linears go; attention keeps its output itself, and SwiGLU its inputs.
  const double frozen = all - e * s * (8192 + 8192 + 8192 + 28672) + e * s * 8192;
  // Each adapter keeps its input, the 16 features and, with dropout, a mask.
  const auto kept = [&](Values which) {
    return layer_work(with_adapters(kLlama2, 16, std::move(which)), 1, slice).activation.value;
  };
  CHECK(kept({{"lora_qkv", {1}}}) == Approx(frozen + e * s * (8192 + 16)));
  CHECK(kept({{"lora_qkv", {1}}, {"lora_dropout", {1}}}) ==
        Approx(frozen + e * s * (8192 + 16) + s * 8192));
  // That of the projection keeps attention's output in its place, or a copy that dropout has
  // changed.
  CHECK(kept({{"lora_projection", {1}}}) == Approx(frozen + e * s * 16));
  CHECK(kept({{"lora_projection", {1}}, {"lora_dropout", {1}}}) ==
        Approx(frozen + e * s * (8192 + 16) + s * 8192));
  const double fp8 = layer_work(whole, 1, slice_of(1, false, DType::Fp8)).activation.value;
  Slice fp8_gate = slice_of(1, false, DType::Fp8);
  fp8_gate.software = find_software("megatron-fp8-gate");
  // Gate and up in one byte instead of two.
  CHECK(layer_work(whole, 1, fp8_gate).activation.value == Approx(fp8 - 2 * s * 28672));
}

TEST_CASE("Attention goes by the tokens that one attends to: packed or uneven samples") {
  const Model model = model_of("llama", kLlama2);
  Slice slice = slice_of(1, false);
  const LayerWork alone = layer_work(model, 1, slice);
  slice.attended_length = 128;  // 64 of them
  const LayerWork packed = layer_work(model, 1, slice);
  CHECK(work_named(alone.forward, "attention").flops.value == Approx(4 * 8192. * 8192 * 8192 / 2));
  CHECK(work_named(packed.forward, "attention").flops.value == Approx(4 * 8192. * 128 * 8192 / 2));
  CHECK((alone.forward_flops - packed.forward_flops).value ==
        Approx(4 * 8192. * (8192 - 128) * 8192));
  CHECK(packed.activation == alone.activation);
  CHECK(work_named(packed.forward, "qkv").flops == work_named(alone.forward, "qkv").flops);
  slice.attended_length = 12288;  // samples of 4096 and 14336, say: more than their mean
  CHECK(work_named(layer_work(model, 1, slice).forward, "attention").flops.value ==
        Approx(4 * 8192. * 12288 * 8192 / 2));
  slice.attention = AttentionKernel::Unfused;
  CHECK(model.family->slice_limits(model, slice) ==
        "attention to other tokens than those of a sequence (attended_length) is fused");
}

TEST_CASE("Adapters: what does not go together") {
  const ModelFamily& family = *find_model_family("llama");
  const auto why = [&](Values more) {
    Values values = kLlama2;
    values.insert(values.end(), more.begin(), more.end());
    return family.limits(parameters_of(family, values));
  };
  CHECK(why({{"lora_qkv", {1}}}) == "lora_qkv needs the key lora_rank");
  CHECK(why({{"lora_dropout", {1}}}) == "lora_dropout needs the key lora_rank");
  CHECK(why({{"lora_rank", {8}}}) ==
        "lora_rank needs one of lora_qkv, lora_projection, lora_mlp_in and lora_mlp_out");
  CHECK(
      why({{"lora_rank", {8}}, {"lora_qkv", {1}}, {"experts", {8}}, {"experts_per_token", {2}}}) ==
      "adapters beside experts or latent attention are not modelled");
  CHECK(why({{"lora_rank", {9000}}, {"lora_qkv", {1}}}).find("lora_rank") == 0);
  CHECK(why({{"lora_rank", {8}}, {"lora_mlp_out", {1}}}).empty());
}

}  // namespace windtunnel

// Blocks that run a software's own operators in place of the default memory-bound kernels.
#include <algorithm>

#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

constexpr int kSamples = 3, kSequence = 128;
constexpr double kHidden = 768;
constexpr double kElements = kSamples * kSequence * kHidden;  // n

// A block of BERT-base, where the scores are b a s^2 = n a s / h = 2 n.
LayerWork block(const Software& software, DType type, Recompute recompute = Recompute::None) {
  Slice slice = {.micro_batch = kSamples, .sequence = kSequence, .type = type};
  slice.recompute = recompute;
  slice.software = &software;
  return layer_work(bert(kHidden, 1, 0), 1, slice);
}

Sums memory_bound(const std::vector<Piece>& pieces) {
  std::vector<Piece> kept;
  for (const Piece& piece : pieces)
    if (std::get<Work>(piece.what).op == OpClass::Elementwise) kept.push_back(piece);
  return sums_of(kept);
}

std::vector<const Software*> with_operators() {
  std::vector<const Software*> list;
  for (const Software& software : software_table())
    if (software.operators) list.push_back(&software);
  return list;
}

}  // namespace

TEST_CASE("operators: bytes and kernels of a BERT block at 128 tokens, forward + backward") {
  // Elements: queries, keys and values 3 n, scores 2 n, beside attention n, branches and norms n
  // twice, MLP 4 n. The numbers are sums of a table's rows of each part, in this order.
  struct Case {
    std::string_view software;
    double fp32, mixed;
    int kernels, kernels_mixed;
  };
  const Case cases[] = {
      // 1756 and 1916; 18 of the kernels are casts.
      {"tensorflow1", 3 * 28 + 2 * 130 + 32 + 2 * 90 + 2 * 224 + 4 * 188,
       3 * 22 + 2 * 154 + 30 + 2 * 102 + 2 * 230 + 4 * 212, 58 + 74, 58 + 8 + 74 + 10},
      {"tensorflow-xla", 3 * 20 + 2 * 51 + 48 + 2 * 25 + 2 * 59 + 4 * 36,              // 522
       3 * 10 + 2 * 37 + 32 + 2 * 21 + 2 * 61 + 4 * 24, 20 + 26, 20 + 26},             // 396
      {"oneflow", 3 * 28 + 2 * 103 + 32 + 2 * 55 + 2 * 76 + 4 * 32,                    // 712
       3 * 14 + 2 * 53 + 16 + 2 * 29 + 2 * 38 + 4 * 16, 31 + 36, 31 + 36},             // 362
      {"paddle", 3 * 36 + 2 * 106 + 48 + 2 * 122 + 2 * 36 + 4 * 40,                    // 844
       3 * 30 + 2 * 130 + 30 + 2 * 134 + 2 * 42 + 4 * 64, 21 + 28, 21 + 8 + 28 + 10},  // 988
      {"apex", 3 * 28 + 2 * 62 + 40 + 2 * 54 + 2 * 28 + 4 * 24,                        // 508
       3 * 14 + 2 * 32 + 20 + 2 * 28 + 2 * 14 + 4 * 12, 20 + 26, 20 + 26},             // 258
  };
  CHECK(std::size(cases) + 1 == with_operators().size());
  CHECK(find_software("mxnet")->operators == find_software("oneflow")->operators);
  for (const Case& expected : cases)
    for (const DType type : {DType::Fp32, DType::Tf32, DType::Fp16, DType::Bf16}) {
      INFO(expected.software << " " << kDTypeNames[std::size_t(type)]);
      const LayerWork work = block(*find_software(expected.software), type);
      const Sums forward = memory_bound(work.forward), backward = memory_bound(work.backward);
      const bool is_mixed = bytes_of(type) == 2;
      CHECK((forward.bytes + backward.bytes).value ==
            Approx((is_mixed ? expected.mixed : expected.fp32) * kElements).epsilon(1e-12));
      CHECK(forward.kernels + backward.kernels ==
            (is_mixed ? expected.kernels_mixed : expected.kernels));
    }
}

TEST_CASE("operators: scores grow with the square of the tokens, the others do not") {
  // At 512 tokens the scores are 8 n: XLA's 37 bytes of each 6 n times more than at 128.
  Slice slice = {.micro_batch = 1, .sequence = 512, .type = DType::Fp16};
  slice.software = find_software("tensorflow-xla");
  const LayerWork work = layer_work(bert(1024, 1, 0), 1, slice);
  CHECK((memory_bound(work.forward).bytes + memory_bound(work.backward).bytes).value ==
        Approx((396 + 6 * 37) * 512.0 * 1024).epsilon(1e-12));
}

TEST_CASE("operators: GEMMs, what is kept and what a block counts are as without them") {
  for (const Software* software : with_operators()) {
    INFO(software->name);
    Software without = *software;
    without.operators = nullptr;
    for (const DType type : {DType::Fp32, DType::Fp16}) {
      const LayerWork own = block(*software, type), usual = block(without, type);
      CHECK(own.activation == usual.activation);
      CHECK(own.working == usual.working);
      CHECK(own.forward_flops == usual.forward_flops);
      for (const auto& [mine, others] :
           {std::pair(&own.forward, &usual.forward), std::pair(&own.backward, &usual.backward),
            std::pair(&own.backward_input, &usual.backward_input)})
        CHECK(sums_of(*mine).kernels - memory_bound(*mine).kernels ==
              sums_of(*others).kernels - memory_bound(*others).kernels);
      CHECK(sums_of(own.backward).bytes ==
            sums_of(own.backward_input).bytes + sums_of(own.backward_weight).bytes);
      // None of these fuses more than the default block.
      CHECK(memory_bound(own.forward).bytes > memory_bound(usual.forward).bytes);
      CHECK(memory_bound(own.backward).bytes > memory_bound(usual.backward).bytes);
      CHECK(sums_of(block(*software, type, Recompute::Full).recompute).bytes ==
            sums_of(own.forward).bytes);
    }
  }
}

TEST_CASE("operators: every set has something in every part and a source") {
  for (const Software* software : with_operators()) {
    INFO(software->name);
    const OperatorSet& set = *software->operators;
    CHECK_FALSE(set.source.empty());
    for (const BlockOperator& row : set.operators) {
      INFO(row.name);
      CHECK(row.kernels > 0);
      CHECK(row.mixed > 0);
      // Only a cast has nothing to do where all is fp32.
      CHECK((row.fp32 == 0) == (row.name == "cast"));
      CHECK(row.fp32 >= 0);
    }
    for (const BlockPart part : {BlockPart::Qkv, BlockPart::Scores, BlockPart::Core,
                                 BlockPart::Branch, BlockPart::Norm, BlockPart::Mlp})
      for (const Pass pass : {Pass::Forward, Pass::Backward})
        CHECK(std::any_of(set.operators.begin(), set.operators.end(),
                          [&](const auto& row) { return row.part == part && row.pass == pass; }));
  }
}

TEST_CASE("operators: blocks that they were not counted of are refused") {
  Slice slice = {.sequence = kSequence};
  const auto why = [&](const Model& model) { return model.family->slice_limits(model, slice); };
  const Model encoder = bert(kHidden, 1, 0), decoder = llama(512, 1, 1024, 8, 8, 1024);
  CHECK(why(decoder).empty());
  slice.software = find_software("oneflow");
  CHECK(why(encoder).empty());
  CHECK(why(decoder) ==
        "the operators of 'oneflow' are counted of blocks with biases, GELU, dropout and unfused "
        "attention");
  slice.attention = AttentionKernel::Flash;
  CHECK_FALSE(why(encoder).empty());
}

TEST_CASE("layouts: images with their channels first are turned round for 16-bit convolutions") {
  // A block of 2 images of 8 x 8, 64 channels in, 256 out, width 64, with a projection. Elements
  // of inputs 64, 64, 64, 64 and of outputs 64, 64, 256, 256 channels, 128 places each. Three
  // passes read and write them in 2 bytes.
  const Model model = model_of("resnet", {{"blocks", {1}}, {"image", {32}}});
  const auto bytes = [&](std::string_view software, DType type) {
    Slice slice = {.micro_batch = 2, .type = type};
    slice.software = find_software(software);
    const LayerWork work = layer_work(model, 1, slice);
    return sums_of(work.forward).bytes + sums_of(work.backward).bytes;
  };
  CHECK(bytes("apex", DType::Fp16) - bytes("ddp", DType::Fp16) ==
        Bytes(3 * 2 * 2.0 * (4 * 64 + 2 * 64 + 2 * 256) * 128));
  CHECK(bytes("apex", DType::Fp32) == bytes("ddp", DType::Fp32));
  CHECK(bytes("oneflow", DType::Fp16) == bytes("ddp", DType::Fp16));
}

}  // namespace windtunnel

// What runs again by modules, and what it gives up. T = tokens, h = hidden, f = width of an expert.
#include <algorithm>

#include "catch.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {
namespace {

using Names = std::vector<std::string_view>;

Names names_of(const std::vector<Piece>& pieces) {
  Names names;
  for (const Piece& piece : pieces) names.push_back(piece.name);
  return names;
}

Recomputation by(std::initializer_list<RecomputeModule> modules) {
  Recomputation recomputation(Recompute::Modules);
  for (const RecomputeModule module : modules) recomputation.modules.add(module);
  return recomputation;
}

struct Again {
  Names names;
  Bytes given_up;
};

Again again(const Model& model, Slice slice, std::initializer_list<RecomputeModule> modules) {
  const LayerWork kept = layer_work(model, 1, slice);
  slice.recompute = by(modules);
  const LayerWork work = layer_work(model, 1, slice);
  return {names_of(work.recompute), kept.activation - work.activation};
}

constexpr RecomputeModule kCore = RecomputeModule::CoreAttn, kAct = RecomputeModule::MoeAct,
                          kNorm = RecomputeModule::Layernorm, kUp = RecomputeModule::MlaUpProj,
                          kMlp = RecomputeModule::Mlp, kMoe = RecomputeModule::Moe;

}  // namespace

TEST_CASE("Recomputation of a mixture, its activation function and its norm") {
  const Slice slice = {.sequence = 4096, .attention = AttentionKernel::Flash, .expert = 8};
  const Model model = mixtral_8x7b();
  const double tokens = 4096, rows = 2 * tokens, h = 4096, f = 14336;
  // From the router to the way back, with both exchanges; a block's forward ends in the sum after
  // it. Given up: the router's input, its probabilities and map (5 bytes of 8 logits), two copies
  // of each token (h features; 2 f before SwiGLU, f behind it). Kept: the router's input.
  const Again moe = again(model, slice, {kMoe});
  const Names forward = names_of(layer_work(model, 1, slice).forward);
  const auto router = std::find(forward.begin(), forward.end(), "router");
  CHECK(moe.names == Names(router, forward.end() - 1));
  CHECK(std::count(moe.names.begin(), moe.names.end(), "dispatch") == 1);
  CHECK(std::count(moe.names.begin(), moe.names.end(), "combine") == 1);
  const Bytes of_router(2 * tokens * h);
  const Bytes of_experts(5 * 8 * tokens + 2 * rows * (h + 3 * f));
  CHECK(moe.given_up == of_experts);
  // The norm returns the router's input once more.
  const Again with_norm = again(model, slice, {kMoe, kNorm});
  CHECK(with_norm.names.front() == "mlp_norm");
  CHECK(Names(with_norm.names.begin() + 1, with_norm.names.end()) == moe.names);
  CHECK(with_norm.given_up == of_experts + of_router);
  // The mixture has its activation function.
  CHECK(again(model, slice, {kMoe, kAct}).names == moe.names);
  CHECK(again(model, slice, {kMoe, kAct}).given_up == moe.given_up);

  const Again act = again(model, slice, {kAct});
  CHECK(act.names == Names{"experts_swiglu"});
  CHECK(act.given_up == Bytes(2 * rows * f));
  const Again norm = again(model, slice, {kNorm});
  CHECK(norm.names == Names{"mlp_norm"});
  CHECK(norm.given_up == of_router);
  const Again both = again(model, slice, {kAct, kNorm});
  CHECK(both.names == Names{"mlp_norm", "experts_swiglu"});
  CHECK(both.given_up == act.given_up + norm.given_up);
}

TEST_CASE("Recomputation of a dense MLP, with the norm in its first linear") {
  const Slice slice = {.sequence = 512, .attention = AttentionKernel::Flash};
  const Again mlp = again(llama3_8b(), slice, {kMlp});
  CHECK(mlp.names == Names{"mlp_norm", "mlp_in", "swiglu", "mlp_out"});
  // Inputs of both linears (2 T h, 2 T f) and of SwiGLU (2 x 2 T f); the norm's 2 T h are kept.
  CHECK(mlp.given_up == Bytes(2 * 512 * (4096 + 3 * 14336.0)));
  // No experts, no latent attention: nothing to run again.
  for (const RecomputeModule module : {kAct, kNorm, kUp, kMoe})
    CHECK(again(llama3_8b(), slice, {module}).names.empty());
}

TEST_CASE("Recomputation of attention's core: as selective, or for nothing") {
  Slice slice = {.sequence = 2048, .tensor = 8};
  Slice selective = slice;
  selective.recompute = Recompute::Selective;
  const LayerWork as = layer_work(gpt3_175b(), 1, selective);
  const Again core = again(gpt3_175b(), slice, {kCore});
  CHECK(core.names == names_of(as.recompute));
  CHECK(core.given_up == layer_work(gpt3_175b(), 1, slice).activation - as.activation);
  slice.attention = AttentionKernel::Flash;
  CHECK(again(gpt3_175b(), slice, {kCore}).names == Names{"attention"});
  CHECK(again(gpt3_175b(), slice, {kCore}).given_up == Bytes(0));
}

TEST_CASE("Recomputation of latent attention's queries, keys and values, and of its norm") {
  // 8 heads of 96, of which 32 are rotary, values of 64; ranks of 64 and 128 for keys and queries.
  Values values = llama_values(512, 2, 1024, 8, 8, 1000);
  for (const auto& [name, value] : Values{{"head_size", {96}},
                                          {"kv_rank", {64}},
                                          {"query_rank", {128}},
                                          {"rope_size", {32}},
                                          {"value_size", {64}}})
    values.emplace_back(name, value);
  const Model model = model_of("llama", values);
  const Slice slice = {.sequence = 256, .attention = AttentionKernel::Flash};
  const Again up = again(model, slice, {kUp});
  CHECK(up.names == Names{"query_up", "key_value_up", "rotary"});
  CHECK(up.given_up == Bytes(2 * 256.0 * 8 * (96 + 96 + 64)));
  // Both narrow linears keep what the norm returned.
  const Again norm = again(model, slice, {kNorm});
  CHECK(norm.names == Names{"attention_norm"});
  CHECK(norm.given_up == Bytes(2 * (2 * 256.0 * 512)));
}

TEST_CASE("Names of what recomputes") {
  CHECK(recomputation_text(Recompute::PerOp) == "per_op");
  CHECK(recomputation_text(by({kMoe, kAct})) == "moe_act + moe");
  CHECK(by({kMoe}) != by({kAct}));
  CHECK(by({kMoe}) == Recompute::Modules);
}

}  // namespace windtunnel

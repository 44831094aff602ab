// Decoders of the Llama kind: grouped-query attention, SwiGLU or a squared ReLU (Nemotron-4),
// RMSNorm, rotary positions, no biases, no dropout. Projections of one input are one tensor (Q with
// K and V, gate with up), and one GEMM unless their software has them apart (Software::joins_qkv).
// Parameters: l (h a d + 2 h g d + a d h + 3 h f + 2 h) + h + 2 V h, or + V h with a tied head, and
// 2 h f in place of 3 h f without a gate.
//
// With `experts` (Mixtral, Qwen3 MoE) blocks have a mixture of them in place of the MLP: 3 h f is
// then 3 h f_e E + h E + 3 h f_s. The first `dense_layers` keep their MLP, and of the others all
// but every `expert_interval`-th. With `expert_bias` 2 E f_e + E h more.
//
// With `lora_rank` all of these are frozen, and adapters of that rank beside the linears named are
// trained.
//
// With `kv_rank` (DeepSeek-V3) attention is latent: `head_size` is then that of queries and keys,
// `rope_size` of it with positions.
#include <algorithm>

#include "model/families.hpp"
#include "model/moe.hpp"
#include "model/transformer_ends.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"layers"},
    {"hidden"},
    {"heads"},
    {"kv_heads", ParameterKind::Count, false, 0},   // absent: heads
    {"head_size", ParameterKind::Count, false, 0},  // absent: hidden / heads
    {"ffn"},
    {"vocab"},
    {"tied_embeddings", ParameterKind::Flag, false, 0},
    {"gated", ParameterKind::Flag, false, 1},     // false: a squared ReLU in place of SwiGLU
    {"qk_norm", ParameterKind::Flag, false, 0},   // RMSNorm of each head's query and key
    {"experts", ParameterKind::Count, false, 0},  // absent: dense MLPs only
    {"experts_per_token", ParameterKind::Count, false, 0},
    {"expert_ffn", ParameterKind::Count, false, 0},  // absent: ffn
    {"shared_expert_ffn", ParameterKind::Count, false, 0},
    {"capacity_factor", ParameterKind::Ratio, false, 0},  // absent: no token is dropped
    {"router_bias", ParameterKind::Flag, false, 0},
    {"expert_bias", ParameterKind::Flag, false, 0},
    {"clamped_experts", ParameterKind::Flag, false, 0},
    {"scaled_rotary", ParameterKind::Flag, false, 0},
    {"router_groups", ParameterKind::Count, false, 0},  // absent: the router chooses among all
    {"router_groups_per_token", ParameterKind::Count, false, 0},
    {"dense_layers", ParameterKind::Count, false, 0},
    {"expert_interval", ParameterKind::Count, false, 1},
    {"kv_rank", ParameterKind::Count, false, 0},  // absent: no latent attention
    {"query_rank", ParameterKind::Count, false, 0},
    {"rope_size", ParameterKind::Count, false, 0},
    {"value_size", ParameterKind::Count, false, 0},
    {"lora_rank", ParameterKind::Count, false, 0},  // absent: everything is trained
    {"lora_qkv", ParameterKind::Flag, false, 0},
    {"lora_projection", ParameterKind::Flag, false, 0},
    {"lora_mlp_in", ParameterKind::Flag, false, 0},
    {"lora_mlp_out", ParameterKind::Flag, false, 0},
    {"lora_dropout", ParameterKind::Flag, false, 0},
};
constexpr std::string_view kAdaptedLinears[] = {"lora_qkv", "lora_projection", "lora_mlp_in",
                                                "lora_mlp_out"};

constexpr std::string_view kExpertParameters[] = {
    "experts_per_token", "expert_ffn",    "shared_expert_ffn",
    "capacity_factor",   "router_bias",   "expert_bias",
    "clamped_experts",   "router_groups", "router_groups_per_token",
    "dense_layers"};

constexpr std::int64_t kWidestAttention = 1 << 22, kMostExperts = 1 << 14;

bool has_experts(const Parameters& parameters, int block) {
  if (parameters.count("experts") == 0 || block < parameters.count("dense_layers")) return false;
  const std::int64_t interval = parameters.count("expert_interval");
  return (block + 1) % interval == 0;
}

}  // namespace

BlockShape llama_block_shape(const Parameters& parameters, int block) {
  BlockShape shape;
  shape.hidden = parameters.count("hidden");
  shape.heads = parameters.count("heads");
  shape.kv_heads = count_or(parameters, "kv_heads", shape.heads);
  shape.head_size = count_or(parameters, "head_size", shape.hidden / shape.heads);
  shape.ffn = parameters.count("ffn");
  shape.activation = parameters.flag("gated") ? MlpActivation::SwiGlu : MlpActivation::SquaredRelu;
  shape.causal = true;
  shape.rotary = true;
  shape.scaled_rotary = parameters.flag("scaled_rotary");
  shape.biased = false;
  shape.qk_norm = parameters.flag("qk_norm");
  shape.latent = {.kv_rank = parameters.count("kv_rank"),
                  .query_rank = parameters.count("query_rank"),
                  .rope = parameters.count("rope_size"),
                  .value = parameters.count("value_size")};
  shape.adapters = {.rank = parameters.count("lora_rank"),
                    .qkv = parameters.flag("lora_qkv"),
                    .projection = parameters.flag("lora_projection"),
                    .mlp_in = parameters.flag("lora_mlp_in"),
                    .mlp_out = parameters.flag("lora_mlp_out"),
                    .dropout = parameters.flag("lora_dropout")};
  if (!has_experts(parameters, block)) return shape;
  shape.moe = {.experts = parameters.count("experts"),
               .per_token = parameters.count("experts_per_token"),
               .ffn = count_or(parameters, "expert_ffn", shape.ffn),
               .shared_ffn = parameters.count("shared_expert_ffn"),
               .capacity_factor = parameters.number("capacity_factor"),
               .router_groups = parameters.count("router_groups"),
               .router_groups_per_token = parameters.count("router_groups_per_token"),
               .router_bias = parameters.flag("router_bias"),
               .biased = parameters.flag("expert_bias"),
               .clamped = parameters.flag("clamped_experts")};
  return shape;
}

namespace {

std::string limits_of_router_groups(const Parameters& parameters) {
  const std::int64_t groups = parameters.count("router_groups"),
                     chosen = parameters.count("router_groups_per_token"),
                     experts = parameters.count("experts");
  if ((groups > 0) != (chosen > 0))
    return "router_groups and router_groups_per_token need each other";
  if (groups == 0) return {};
  if (experts % groups != 0)
    return std::to_string(experts) + " experts are not divisible by router_groups " +
           std::to_string(groups);
  if (chosen > groups)
    return "router_groups_per_token " + std::to_string(chosen) + " is above router_groups " +
           std::to_string(groups);
  if (chosen * (experts / groups) < parameters.count("experts_per_token"))
    return "the groups of a token have " + std::to_string(chosen * (experts / groups)) +
           " experts, fewer than experts_per_token " +
           std::to_string(parameters.count("experts_per_token"));
  return {};
}

std::string limits_of_experts(const Parameters& parameters) {
  const std::int64_t experts = parameters.count("experts");
  if (experts == 0) {
    for (const std::string_view name : kExpertParameters)
      if (parameters.number(name) != 0) return std::string(name) + " needs the key experts";
    return {};
  }
  const std::int64_t per_token = parameters.count("experts_per_token");
  if (per_token == 0) return "experts need the key experts_per_token";
  if (!parameters.flag("gated")) return "experts have a gate";
  if (per_token > experts)
    return "experts_per_token " + std::to_string(per_token) + " is above experts " +
           std::to_string(experts);
  if (std::string why = limits_of_router_groups(parameters); !why.empty()) return why;
  return most_limit("experts", experts, kMostExperts);
}

std::string limits_of_latent_attention(const Parameters& parameters) {
  const bool is_latent = parameters.count("kv_rank") > 0;
  for (const std::string_view name : {"query_rank", "rope_size", "value_size"})
    if (!is_latent && parameters.count(name) > 0)
      return std::string(name) + " needs the key kv_rank";
  if (!is_latent) return {};
  for (const std::string_view name : {"head_size", "rope_size", "value_size"})
    if (parameters.count(name) == 0) return "kv_rank needs the key " + std::string(name);
  if (parameters.count("rope_size") > parameters.count("head_size"))
    return "rope_size is above head_size";
  const std::int64_t heads = parameters.count("heads");
  if (count_or(parameters, "kv_heads", heads) != heads || parameters.flag("qk_norm"))
    return "latent attention has as many kv_heads as heads, and no qk_norm";
  return {};
}

std::string limits_of_adapters(const Parameters& parameters) {
  const bool is_frozen = parameters.count("lora_rank") > 0;
  const auto is_set = [&](std::string_view name) { return parameters.flag(name); };
  if (!is_frozen) {
    for (const std::string_view name : kAdaptedLinears)
      if (is_set(name)) return std::string(name) + " needs the key lora_rank";
    return is_set("lora_dropout") ? "lora_dropout needs the key lora_rank" : "";
  }
  if (std::none_of(std::begin(kAdaptedLinears), std::end(kAdaptedLinears), is_set))
    return "lora_rank needs one of lora_qkv, lora_projection, lora_mlp_in and lora_mlp_out";
  if (parameters.count("experts") > 0 || parameters.count("kv_rank") > 0)
    return "adapters beside experts or latent attention are not modelled";
  return most_limit("lora_rank", parameters.count("lora_rank"), parameters.count("hidden"));
}

std::string limits(const Parameters& parameters) {
  const std::int64_t heads = parameters.count("heads");
  if (parameters.count("head_size") == 0 && parameters.count("hidden") % heads != 0)
    return multiple_limit("hidden", parameters.count("hidden"), "heads", heads) +
           ", and there is no head_size";
  std::string why =
      most_limit("heads * head_size", heads * parameters.count("head_size"), kWidestAttention);
  if (!why.empty()) return why;
  why = multiple_limit("heads", heads, "kv_heads", count_or(parameters, "kv_heads", heads));
  if (why.empty()) why = limits_of_latent_attention(parameters);
  if (why.empty()) why = limits_of_experts(parameters);
  return why.empty() ? limits_of_adapters(parameters) : why;
}

std::vector<Layer> layers(const Parameters& parameters) {
  const std::int64_t hidden = parameters.count("hidden");
  const bool is_frozen = parameters.count("lora_rank") > 0;
  const Tensor words = {.name = "embedding.words",
                        .numel = parameters.count("vocab") * hidden,
                        .split = true,
                        .frozen = is_frozen};
  const Tensor norm = {.name = "final_norm.weight", .numel = hidden, .frozen = is_frozen};
  Tensor head = words;
  if (!parameters.flag("tied_embeddings")) head.name = "head";
  std::vector<Layer> list = {{"embedding", LayerKind::Embedding, {words}}};
  for (int i = 0; i < parameters.count("layers"); ++i)
    list.push_back({"block " + std::to_string(i), LayerKind::Block,
                    transformer_block_tensors(llama_block_shape(parameters, i))});
  list.push_back({"head", LayerKind::Head, {norm, head}});
  return list;
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  const TransformerSlice here(slice, slice.sequence, parameters.count("hidden"));
  switch (model.layers[std::size_t(layer)].kind) {
    case LayerKind::Embedding:
      return token_embedding(
          here, {.vocab = parameters.count("vocab"), .frozen = parameters.count("lora_rank") > 0});
    case LayerKind::Block:
      return transformer_block(here, llama_block_shape(parameters, layer - 1), slice.recompute);
    case LayerKind::Head:
      return language_head(here, parameters.count("vocab"), parameters.count("lora_rank") > 0);
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::string slice_limits(const Model& model, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  for (int block = 0; block < parameters.count("layers"); ++block) {
    const BlockShape shape = llama_block_shape(parameters, block);
    std::string why = block_slice_limits(shape, slice.sequence, slice);
    if (!why.empty()) return why;
  }
  return vocabulary_limit(parameters.count("vocab"), slice.tensor);
}

}  // namespace

ModelFamily llama_family() {
  return {.name = "llama",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = slice_limits,
          .is_sequence = true,
          .source = "Touvron et al. 2023, arXiv:2307.09288; Dubey et al. 2024, arXiv:2407.21783",
          .has_context_parallelism = true};
}

}  // namespace windtunnel

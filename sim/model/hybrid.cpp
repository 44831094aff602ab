// Decoders whose layers follow a pattern: Mamba-2 mixers (M), attention (*), MLPs (-) and mixtures
// of experts (E), each a layer of its own with one RMSNorm and one residual. No biases but the
// convolution's, no dropout. Letters as Megatron-LM's --hybrid-override-pattern.
// Parameters, besides h + 2 V h (or V h with a tied head): of M h (3 d + 2 G N + H + 1) + C k + C +
// 3 H + d with d = H P and C = d + 2 G N; of * h (2 a d_a + 2 g d_a + 1); of - h (3 f + 1) or,
// without a gate, h (2 f + 1); of E h (E + 2 f_s + 1) + 2 l f_e E + 2 l h without a gate and with a
// latent size l, and so on.
//
// With `mtp_layers` (multi-token prediction) as many further tokens are predicted: each time the
// embedding of the token and what the model has of it, normalised, side by side, pass a linear 2 h
// x h and the layers of `mtp_pattern`, and the head runs again. `mtp_shared`: all with the same
// weights. Sources below, and megatron/core/transformer/multi_token_prediction.py; DeepSeek-AI
// 2024, arXiv:2412.19437, section 2.2.
#include <algorithm>

#include "model/families.hpp"
#include "model/mamba.hpp"
#include "model/moe.hpp"
#include "model/transformer_ends.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"pattern", ParameterKind::Letters},
    {"hidden"},
    {"vocab"},
    {"tied_embeddings", ParameterKind::Flag, false, 0},
    {"heads", ParameterKind::Count, false, 0},
    {"kv_heads", ParameterKind::Count, false, 0},   // absent: heads
    {"head_size", ParameterKind::Count, false, 0},  // absent: hidden / heads
    {"rotary", ParameterKind::Flag, false, 0},
    {"ffn", ParameterKind::Count, false, 0},
    {"gated", ParameterKind::Flag, false, 1},  // false: a squared ReLU in place of SwiGLU
    {"experts", ParameterKind::Count, false, 0},
    {"experts_per_token", ParameterKind::Count, false, 0},
    {"expert_ffn", ParameterKind::Count, false, 0},
    {"expert_latent", ParameterKind::Count, false, 0},  // absent: experts get whole hidden states
    {"shared_expert_ffn", ParameterKind::Count, false, 0},
    {"capacity_factor", ParameterKind::Ratio, false, 0},  // absent: no token is dropped
    {"router_bias", ParameterKind::Flag, false, 0},
    {"mamba_state", ParameterKind::Count, false, 0},
    {"mamba_heads", ParameterKind::Count, false,
     0},  // absent: mamba_expand hidden / mamba_head_size
    {"mamba_head_size", ParameterKind::Count, false, 64},
    {"mamba_groups", ParameterKind::Count, false, 1},
    {"mamba_expand", ParameterKind::Count, false, 2},
    {"mamba_conv", ParameterKind::Count, false, 4},
    {"mamba_chunk", ParameterKind::Count, false, 128},  // tokens that its kernels take at a time
    {"mtp_layers", ParameterKind::Count, false, 0},
    {"mtp_pattern", ParameterKind::Letters, false},
    {"mtp_shared", ParameterKind::Flag, false, 0},
};

constexpr char kMamba = 'M', kAttention = '*', kMlp = '-', kExperts = 'E';
constexpr char kJoin = '+';  // where a further token's embedding comes in; in no pattern
constexpr std::string_view kLetters = "M*-E";

// Keys without which a letter says too little, and those that say nothing without it.
struct LetterKeys {
  char letter;
  std::vector<std::string_view> needed, others;
};
const std::vector<LetterKeys>& letter_keys() {
  static const std::vector<LetterKeys> keys = {
      {kMamba, {"mamba_state"}, {"mamba_heads"}},
      {kAttention, {"heads"}, {"kv_heads", "head_size", "rotary"}},
      {kMlp, {"ffn"}, {}},
      {kExperts,
       {"experts", "experts_per_token", "expert_ffn"},
       {"expert_latent", "shared_expert_ffn", "capacity_factor", "router_bias"}}};
  return keys;
}

constexpr std::int64_t kWidest = 1 << 22, kMostExperts = 1 << 14, kMostLayers = 1 << 14;

std::string letters(const Parameters& parameters, std::string_view name) {
  std::string text;
  for (const double code : parameters.list(name)) text.push_back(char(code));
  return text;
}

// All layers between the embedding and the head.
std::string layer_letters(const Parameters& parameters) {
  std::string all = letters(parameters, "pattern");
  for (int i = 0; i < parameters.count("mtp_layers"); ++i)
    all += kJoin + letters(parameters, "mtp_pattern");
  return all;
}

MambaShape mamba_shape(const Parameters& parameters) {
  const std::int64_t head = parameters.count("mamba_head_size");
  return {.heads = count_or(parameters, "mamba_heads",
                            parameters.count("mamba_expand") * parameters.count("hidden") / head),
          .head_size = head,
          .groups = parameters.count("mamba_groups"),
          .state = parameters.count("mamba_state"),
          .taps = parameters.count("mamba_conv"),
          .chunk = parameters.count("mamba_chunk")};
}

BlockShape block_shape(const Parameters& parameters, char letter) {
  BlockShape shape;
  const bool gated = parameters.flag("gated");
  shape.hidden = parameters.count("hidden");
  shape.ffn = parameters.count("ffn");
  shape.activation = gated ? MlpActivation::SwiGlu : MlpActivation::FusedSquaredRelu;
  shape.causal = true;
  shape.rotary = parameters.flag("rotary");
  shape.biased = false;
  if (letter == kAttention) {
    shape.heads = parameters.count("heads");
    shape.kv_heads = count_or(parameters, "kv_heads", shape.heads);
    shape.head_size = count_or(parameters, "head_size", shape.hidden / shape.heads);
  }
  if (letter == kExperts)
    shape.moe = {.experts = parameters.count("experts"),
                 .per_token = parameters.count("experts_per_token"),
                 .ffn = parameters.count("expert_ffn"),
                 .shared_ffn = parameters.count("shared_expert_ffn"),
                 .capacity_factor = parameters.number("capacity_factor"),
                 .router_bias = parameters.flag("router_bias"),
                 .gated = gated,
                 .latent = parameters.count("expert_latent")};
  return shape;
}

std::string limits_of_pattern(const std::string& pattern, std::string_view name) {
  const std::size_t at = pattern.find_first_not_of(kLetters);
  if (at == std::string::npos) return {};
  return "'" + pattern.substr(at, 1) + "' in the " + std::string(name) +
         " is not one of M (Mamba-2), * (attention), - (MLP) and E (experts)";
}

std::string limits_of_keys(const Parameters& parameters, const std::string& all) {
  for (const LetterKeys& keys : letter_keys()) {
    const std::string letter(1, keys.letter);
    const bool is_there = all.find(keys.letter) != std::string::npos;
    for (const std::string_view name : keys.needed)
      if (is_there && parameters.number(name) == 0)
        return "'" + letter + "' in the pattern needs the key " + std::string(name);
    if (is_there) continue;
    for (const auto* names : {&keys.needed, &keys.others})
      for (const std::string_view name : *names)
        if (parameters.number(name) != 0)
          return std::string(name) + " needs '" + letter + "' in the pattern";
  }
  return {};
}

std::string limits_of_attention(const Parameters& parameters) {
  const std::int64_t hidden = parameters.count("hidden"), heads = parameters.count("heads");
  std::string why;
  if (parameters.count("head_size") == 0) why = multiple_limit("hidden", hidden, "heads", heads);
  if (!why.empty()) return why;
  const BlockShape shape = block_shape(parameters, kAttention);
  why = most_limit("heads x head_size", heads * shape.head_size, kWidest);
  return why.empty() ? multiple_limit("heads", heads, "kv_heads", shape.kv_heads) : why;
}

std::string limits_of_mamba(const Parameters& parameters) {
  const MambaShape shape = mamba_shape(parameters);
  std::string why;
  if (parameters.count("mamba_heads") == 0)
    why = multiple_limit("mamba_expand x hidden",
                         parameters.count("mamba_expand") * parameters.count("hidden"),
                         "mamba_head_size", shape.head_size);
  if (why.empty()) why = multiple_limit("mamba_heads", shape.heads, "mamba_groups", shape.groups);
  if (why.empty()) why = most_limit("mamba_heads x mamba_head_size", shape.width(), kWidest);
  if (why.empty())
    why = most_limit("mamba_groups x mamba_state", shape.groups * shape.state, kWidest);
  return why;
}

std::string limits_of_experts(const Parameters& parameters) {
  const std::int64_t experts = parameters.count("experts");
  const std::int64_t per_token = parameters.count("experts_per_token");
  if (per_token > experts)
    return "experts_per_token " + std::to_string(per_token) + " is above experts " +
           std::to_string(experts);
  return most_limit("experts", experts, kMostExperts);
}

std::string limits_of_further_tokens(const Parameters& parameters) {
  const bool has_pattern = !letters(parameters, "mtp_pattern").empty();
  if (has_pattern != (parameters.count("mtp_layers") > 0))
    return has_pattern ? "mtp_pattern needs the key mtp_layers"
                       : "mtp_layers needs the key mtp_pattern";
  if (!has_pattern && parameters.flag("mtp_shared")) return "mtp_shared needs the key mtp_layers";
  return limits_of_pattern(letters(parameters, "mtp_pattern"), "mtp_pattern");
}

std::string limits(const Parameters& parameters) {
  std::string why = limits_of_pattern(letters(parameters, "pattern"), "pattern");
  if (why.empty()) why = limits_of_further_tokens(parameters);
  if (!why.empty()) return why;
  const double count =
      double(parameters.list("pattern").size()) +
      double(parameters.count("mtp_layers")) * double(parameters.list("mtp_pattern").size() + 1);
  if (count > double(kMostLayers))
    return "the patterns have more than " + std::to_string(kMostLayers) + " layers";
  const std::string all = layer_letters(parameters);
  why = limits_of_keys(parameters, all);
  const auto has = [&](char letter) { return all.find(letter) != std::string::npos; };
  if (why.empty() && has(kAttention)) why = limits_of_attention(parameters);
  if (why.empty() && has(kMamba)) why = limits_of_mamba(parameters);
  if (why.empty() && has(kExperts)) why = limits_of_experts(parameters);
  return why;
}

std::vector<Tensor> layer_tensors(const Parameters& parameters, char letter) {
  const std::int64_t hidden = parameters.count("hidden");
  switch (letter) {
    case kMamba:
      return mamba_tensors(hidden, mamba_shape(parameters));
    case kAttention:
      return attention_tensors(block_shape(parameters, letter));
    case kJoin:
      return {{"embedding_norm.weight", hidden, false},
              {"hidden_norm.weight", hidden, false},
              {"join.weight", 2 * hidden * hidden, true}};
    default:
      return feed_forward_tensors(block_shape(parameters, letter));
  }
}

std::string_view kind_name(char letter) {
  switch (letter) {
    case kMamba:
      return "mamba ";
    case kAttention:
      return "attention ";
    case kMlp:
      return "mlp ";
    case kExperts:
      return "experts ";
    default:
      return "join ";
  }
}

std::vector<Layer> layers(const Parameters& parameters) {
  const std::int64_t hidden = parameters.count("hidden");
  const Tensor words = {
      .name = "embedding.words", .numel = parameters.count("vocab") * hidden, .split = true};
  Tensor head = words;
  if (!parameters.flag("tied_embeddings")) head.name = "head";
  std::vector<Layer> list = {{"embedding", LayerKind::Embedding, {words}}};
  const std::string all = layer_letters(parameters);
  // The weights of the first further token's layers are those of the others, where they share them.
  const std::size_t own = parameters.flag("mtp_shared") ? parameters.list("pattern").size() + 1 +
                                                              parameters.list("mtp_pattern").size()
                                                        : all.size();
  for (std::size_t i = 0; i < all.size(); ++i)
    list.push_back({std::string(kind_name(all[i])) + std::to_string(i), LayerKind::Block,
                    i < own ? layer_tensors(parameters, all[i]) : std::vector<Tensor>()});
  const Tensor norm = {.name = "final_norm.weight", .numel = hidden};
  list.push_back({"head", LayerKind::Head, {norm, head}});
  return list;
}

constexpr GemmNames kJoinLinear = {"join", "join.input_gradient", "join.weight_gradient"};

// Two norms, side by side, and the linear, whose output every rank needs whole.
std::vector<Operation> join_operations(const TransformerSlice& slice) {
  const double bytes = slice.local_hidden().value;
  std::vector<Operation> operations = {
      rms_norm_operation(slice, "embedding_norm"), rms_norm_operation(slice, "hidden_norm"),
      elementwise_operation("side_by_side", elementwise_kernels(4 * bytes, 1),
                            elementwise_kernels(4 * bytes, 1), Bytes(0)),
      column_parallel_linear(slice, kJoinLinear, 2 * slice.hidden, slice.hidden)};
  if (slice.tensor == 1) return operations;
  Operation& linear = operations.back();
  const Piece gather = collective("gather_output", CollectiveKind::AllGather, slice.whole_hidden());
  linear.forward.push_back(gather);
  if (slice.splits_sequence) {
    linear.backward.insert(linear.backward.begin(), gather);
    linear.backward_input.insert(linear.backward_input.begin(), gather);
  }
  return operations;
}

std::vector<Operation> layer_operations(const TransformerSlice& slice, const Parameters& parameters,
                                        char letter) {
  switch (letter) {
    case kMamba:
      return mamba_operations(slice, mamba_shape(parameters));
    case kAttention:
      return attention_operations(slice, block_shape(parameters, letter));
    case kJoin:
      return join_operations(slice);
    default:
      return feed_forward_operations(slice, block_shape(parameters, letter));
  }
}

// One after another, all of which are kept.
LayerWork times(const LayerWork& work, int count) {
  LayerWork all = work;
  const auto append = [](std::vector<Piece>& to, const std::vector<Piece>& pieces) {
    to.insert(to.end(), pieces.begin(), pieces.end());
  };
  for (int i = 1; i < count; ++i) {
    append(all.forward, work.forward);
    append(all.backward, work.backward);
    append(all.backward_input, work.backward_input);
    append(all.backward_weight, work.backward_weight);
    all.activation += work.activation;
    all.logits += work.logits;
    all.held += work.held;
    all.forward_flops += work.forward_flops;
    all.backward_flops += work.backward_flops;
  }
  return all;
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  const TransformerSlice here(slice, slice.sequence, parameters.count("hidden"));
  const std::int64_t vocab = parameters.count("vocab");
  switch (model.layers[std::size_t(layer)].kind) {
    case LayerKind::Embedding:
      return token_embedding(here, {.vocab = vocab});
    case LayerKind::Block:
      return assembled_layer(
          layer_operations(here, parameters, layer_letters(parameters)[std::size_t(layer - 1)]),
          LayerKind::Block, here.local_hidden(), here.local_hidden(), slice.recompute);
    case LayerKind::Head:
      return times(language_head(here, vocab), 1 + int(parameters.count("mtp_layers")));
  }
  SIM_CHECK(false, "a layer of no kind");
}

std::string slice_limits(const Model& model, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  for (const char letter : layer_letters(parameters)) {
    std::string why =
        letter == kMamba ? mamba_slice_limits(mamba_shape(parameters), slice)
        : letter == kJoin
            ? split_limit("features of a hidden state", parameters.count("hidden"), slice.tensor)
            : block_slice_limits(block_shape(parameters, letter), slice.sequence, slice);
    if (!why.empty()) return why;
  }
  if (slice.sequence_parallel) {
    std::string why =
        split_limit("tokens of a sequence (sequence parallelism)", slice.sequence, slice.tensor);
    if (!why.empty()) return why;
  }
  return vocabulary_limit(parameters.count("vocab"), slice.tensor);
}

}  // namespace

ModelFamily hybrid_family() {
  return {.name = "hybrid",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = slice_limits,
          .is_sequence = true,
          .source =
              "NVIDIA 2025, arXiv:2504.03624 (Nemotron-H); Waleffe et al. 2024, "
              "arXiv:2406.07887; Dao and Gu 2024, arXiv:2405.21060"};
}

}  // namespace windtunnel

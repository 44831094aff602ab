// Models of the tests by their dimensions, and sums over the pieces of a pass.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "model/model.hpp"

namespace windtunnel {

using Values = std::vector<std::pair<std::string_view, std::vector<double>>>;

// As the loader leaves them: absent optional parameters have their fallback, lists are empty.
inline Parameters parameters_of(const ModelFamily& family, const Values& values) {
  Parameters parameters;
  for (const ParameterSpec& spec : family.parameters) {
    const bool is_list = spec.kind == ParameterKind::Counts || spec.kind == ParameterKind::Times ||
                         spec.kind == ParameterKind::Sizes || spec.kind == ParameterKind::Letters;
    parameters.set(spec.name, is_list ? std::vector<double>{} : std::vector<double>{spec.fallback});
  }
  for (const auto& [name, list] : values) parameters.set(name, list);
  return parameters;
}

inline Model model_of(std::string_view family_name, const Values& values) {
  const ModelFamily* family = find_model_family(family_name);
  SIM_CHECK(family != nullptr, std::string(family_name));
  return build_model(std::string(family_name), *family, parameters_of(*family, values));
}

inline Model gpt(double hidden, double layers, double heads, double vocab, double sequence) {
  return model_of("gpt", {{"hidden", {hidden}},
                          {"layers", {layers}},
                          {"heads", {heads}},
                          {"vocab", {vocab}},
                          {"max_sequence", {sequence}}});
}
inline Model gpt3_175b() {
  return gpt(12288, 96, 96, 51200, 2048);
}

inline Values llama_values(double hidden, double layers, double ffn, double heads, double kv_heads,
                           double vocab) {
  return {{"hidden", {hidden}}, {"layers", {layers}},     {"ffn", {ffn}},
          {"heads", {heads}},   {"kv_heads", {kv_heads}}, {"vocab", {vocab}}};
}
inline Model llama(double hidden, double layers, double ffn, double heads, double kv_heads,
                   double vocab) {
  return model_of("llama", llama_values(hidden, layers, ffn, heads, kv_heads, vocab));
}
// Beside every linear, with dropout, unless `which` says otherwise.
inline Model with_adapters(Values values, double rank = 16,
                           Values which = {{"lora_qkv", {1}},
                                           {"lora_projection", {1}},
                                           {"lora_mlp_in", {1}},
                                           {"lora_mlp_out", {1}},
                                           {"lora_dropout", {1}}}) {
  values.push_back({"lora_rank", {rank}});
  values.insert(values.end(), which.begin(), which.end());
  return model_of("llama", values);
}
inline Model llama3_8b() {
  return llama(4096, 32, 14336, 32, 8, 128256);
}

// Blocks of routed experts only.
inline Model mixture(double hidden, double layers, double ffn, double heads, double kv_heads,
                     double vocab, double experts, double per_token, Values more = {}) {
  Values values = {{"hidden", {hidden}},     {"layers", {layers}},
                   {"ffn", {ffn}},           {"heads", {heads}},
                   {"kv_heads", {kv_heads}}, {"vocab", {vocab}},
                   {"experts", {experts}},   {"experts_per_token", {per_token}}};
  values.insert(values.end(), more.begin(), more.end());
  return model_of("llama", values);
}
inline Model mixtral_8x7b() {
  return mixture(4096, 32, 14336, 32, 8, 32000, 8, 2);
}

inline std::vector<double> letters_of(std::string_view text) {
  return {text.begin(), text.end()};
}
inline Model hybrid(std::string_view pattern, Values values) {
  values.push_back({"pattern", letters_of(pattern)});
  return model_of("hybrid", values);
}

inline Model bert(double hidden, double layers, double mlm_head) {
  return model_of("bert", {{"hidden", {hidden}},
                           {"layers", {layers}},
                           {"heads", {hidden / 64}},
                           {"vocab", {30522}},
                           {"max_sequence", {512}},
                           {"token_types", {2}},
                           {"mlm_head", {mlm_head}}});
}

inline Model vit_b_16() {
  return model_of("vit", {{"layers", {12}}, {"hidden", {768}}, {"heads", {12}}, {"patch", {16}}});
}

inline Model resnet50(double stride_in_3x3 = 1) {
  return model_of("resnet", {{"blocks", {3, 4, 6, 3}}, {"stride_in_3x3", {stride_in_3x3}}});
}

inline Model mlp() {
  return model_of("mlp",
                  {{"inputs", {784}}, {"hidden", {4096}}, {"layers", {4}}, {"outputs", {10}}});
}

inline Model synthetic() {
  return model_of("synthetic", {{"layers", {3}},
                                {"forward", {0.001}},
                                {"backward_input", {0.001, 0.002, 0.003}},
                                {"backward_weight", {0.0005}},
                                {"message", {1024}},
                                {"activation", {4096}},
                                {"layer_bytes", {400}}});
}

// Models of every family and kind of layer, with few layers: what holds for two blocks holds
// for 96.
inline std::vector<Model> examples() {
  return {gpt(12288, 2, 96, 51200, 2048),
          llama(4096, 2, 14336, 32, 8, 128256),
          mixture(1024, 3, 2048, 8, 4, 32000, 8, 2,
                  {{"shared_expert_ffn", {512}},
                   {"dense_layers", {1}},
                   {"qk_norm", {1}},
                   {"capacity_factor", {1.25}}}),
          model_of("llama", {{"hidden", {256}},
                             {"layers", {2}},
                             {"ffn", {512}},
                             {"heads", {8}},
                             {"vocab", {4096}},
                             {"head_size", {48}},
                             {"rope_size", {16}},
                             {"value_size", {32}},
                             {"kv_rank", {64}},
                             {"query_rank", {96}}}),
          with_adapters(llama_values(4096, 2, 14336, 32, 8, 128256)),
          hybrid("M*-E", {{"hidden", {256}},
                          {"vocab", {4096}},
                          {"heads", {8}},
                          {"kv_heads", {4}},
                          {"ffn", {512}},
                          {"gated", {0}},
                          {"experts", {8}},
                          {"experts_per_token", {2}},
                          {"expert_ffn", {128}},
                          {"expert_latent", {64}},
                          {"shared_expert_ffn", {256}},
                          {"mamba_state", {64}},
                          {"mamba_groups", {4}},
                          {"mtp_layers", {2}},
                          {"mtp_pattern", letters_of("*E")},
                          {"mtp_shared", {1}}}),
          bert(1024, 2, 1),
          bert(768, 2, 0),
          model_of("vit", {{"layers", {2}}, {"hidden", {768}}, {"heads", {12}}, {"patch", {16}}}),
          model_of("resnet", {{"blocks", {2, 1}}}),
          model_of("resnet", {{"blocks", {1, 2}}, {"stride_in_3x3", {0}}}),
          mlp(),
          synthetic()};
}

struct Sums {
  Flops flops;
  Bytes bytes;
  int kernels = 0;
  Seconds duration;
  Bytes sent;  // by a rank with ring collectives of the tensor-parallel group
  int collectives = 0;
  bool operator==(const Sums&) const = default;
};

// Ring: (t - 1) / t of the buffer for all-gather and reduce-scatter, twice that for all-reduce.
inline Sums sums_of(const std::vector<Piece>& pieces, int tensor = 1) {
  Sums sums;
  for (const Piece& piece : pieces) {
    if (const Work* work = std::get_if<Work>(&piece.what)) {
      sums.flops += work->flops;
      sums.bytes += work->bytes;
      sums.kernels += work->kernels;
      sums.duration += work->duration;
    } else {
      const auto& collective = std::get<LayerCollective>(piece.what);
      const double passes = collective.kind == CollectiveKind::AllReduce ? 2 : 1;
      sums.sent += passes * (tensor - 1) * (collective.size / tensor);
      ++sums.collectives;
    }
  }
  return sums;
}

inline Flops flops_of(const std::vector<Piece>& pieces, OpClass op) {
  Flops flops;
  for (const Piece& piece : pieces)
    if (const Work* work = std::get_if<Work>(&piece.what); work != nullptr && work->op == op)
      flops += work->flops;
  return flops;
}

// Forward and backward FLOPs of a micro-batch as MFU counts them.
inline std::pair<Flops, Flops> counted_flops(const Model& model, const Slice& slice) {
  Flops forward, backward;
  for (int i = 0; i < int(model.layers.size()); ++i) {
    const LayerWork work = layer_work(model, i, slice);
    forward += work.forward_flops;
    backward += work.backward_flops;
  }
  return {forward, backward};
}

inline Work work_named(const std::vector<Piece>& pieces, std::string_view name) {
  for (const Piece& piece : pieces)
    if (piece.name == name) return std::get<Work>(piece.what);
  FAIL("no piece " << name);
  return {};
}

}  // namespace windtunnel

// A Hugging Face config.json: the keys of a model_type -> a family's parameters. Other keys of that
// format say nothing about sizes and are passed over.
// Sources: configuration_gpt2.py, configuration_llama.py, configuration_bert.py in
// huggingface/transformers (names and defaults).
#include <fmt/format.h>

#include <filesystem>

#include "config/loaders.hpp"

namespace windtunnel {
namespace {

struct KeyRow {
  std::string_view key;        // in config.json
  std::string_view parameter;  // of the family
  bool required = true;
};

struct Architecture {
  std::string_view name;  // model_type
  std::string_view family;
  std::vector<KeyRow> counts;
  bool tied_by_default;
};

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> rows = {
      {"gpt2",
       "gpt",
       {{"n_layer", "layers"},
        {"n_embd", "hidden"},
        {"n_head", "heads"},
        {"n_inner", "ffn", false},
        {"vocab_size", "vocab"},
        {"n_positions", "max_sequence"}},
       true},
      {"llama",
       "llama",
       {{"num_hidden_layers", "layers"},
        {"hidden_size", "hidden"},
        {"num_attention_heads", "heads"},
        {"num_key_value_heads", "kv_heads", false},
        {"head_dim", "head_size", false},
        {"intermediate_size", "ffn"},
        {"vocab_size", "vocab"}},
       false},
      {"bert",
       "bert",
       {{"num_hidden_layers", "layers"},
        {"hidden_size", "hidden"},
        {"num_attention_heads", "heads"},
        {"intermediate_size", "ffn", false},
        {"vocab_size", "vocab"},
        {"max_position_embeddings", "max_sequence", false},
        {"type_vocab_size", "token_types", false}},
       true},
  };
  return rows;
}

// null stands for an absent value in this format.
std::optional<YamlValue> find_value(YamlMap& map, std::string_view key) {
  const auto value = map.find(key);
  return value && !value->is(YamlNode::Kind::Null) ? value : std::nullopt;
}

std::string name_of_model(YamlMap& map, const std::string& path) {
  const auto given = find_value(map, "_name_or_path");
  std::string name;
  if (given && given->is(YamlNode::Kind::Scalar)) name = given->node().text;
  if (name.empty() || name == "." || name == "./")
    name = std::filesystem::absolute(path).parent_path().filename().string();
  while (name.ends_with('/')) name.pop_back();
  return name.substr(name.rfind('/') + 1);
}

}  // namespace

Model read_hugging_face(YamlMap map, const std::string& path) {
  const YamlValue type = map.at("model_type");
  const Architecture& row = row_of<Architecture>(architectures(), type);
  const ModelFamily& family = *find_model_family(row.family);
  Parameters parameters;
  for (const ParameterSpec& spec : family.parameters) parameters.set(spec.name, spec.fallback);
  for (const KeyRow& key : row.counts) {
    const auto value = key.required ? map.at(key.key) : find_value(map, key.key);
    if (value) parameters.set(key.parameter, double(value->integer(1, kLargestDimension)));
  }
  if (parameters.has("tied_embeddings")) {
    const auto tied = find_value(map, "tie_word_embeddings");
    parameters.set("tied_embeddings", (tied ? tied->flag() : row.tied_by_default) ? 1.0 : 0.0);
  }
  for (const char* bias : {"attention_bias", "mlp_bias"})
    if (const auto value = find_value(map, bias); value && value->flag())
      value->fail("linears with biases are not among what this family has");
  Model model = checked_model(map, name_of_model(map, path), family, parameters);
  model.source = path;
  return model;
}

}  // namespace windtunnel

#include "commands/validate_rules.hpp"

#include <algorithm>
#include <array>

#include "config/yaml_file.hpp"

namespace windtunnel {
namespace {

struct Section {
  std::string_view name;
  std::vector<std::string_view> keys;  // besides match, reason and note
};

const std::array<Section, 13>& known_sections() {
  static const std::array<Section, 13> sections = {{
      {"gpus", {"node", "gpu", "types", "fabric", "set", "nvlink_domain"}},
      {"fabrics", {"nics", "rate", "channels", "channel", "fabric"}},
      {"frameworks",
       {"name",
        "gradients",
        "pads",
        "data_parallel",
        "pipeline_transfer",
        "attention",
        "fused_attention",
        "sequence_parallel",
        "zero_stage",
        "shard",
        "fsdp",
        "one_layer_stages",
        "recompute",
        "selective",
        "gradient_accumulation",
        "kernels",
        "cross_entropy",
        "host",
        "fabric",
        "software",
        "data_length",
        "mean_length",
        "attended_length",
        "masked"}},
      {"models",
       {"family", "model", "extra", "ffn", "images", "virtual_stages", "attended_length"}},
      {"layouts",
       {"tensor", "context", "context_parallel", "micro_batch", "recompute", "recompute_layers",
        "precision", "software", "kernels", "cross_entropy", "host", "overlap_experts",
        "expert_dispatch", "expandable_segments"}},
      {"schedules", {"schedule"}},
      {"recompute", {"recompute", "share"}},
      {"attention", {"attention", "kernels"}},
      {"precisions", {"type", "attention"}},
      {"flags", {}},
      {"notes", {"attention_flops"}},
      {"memory_tools", {"counts", "unit"}},
      {"collective_systems", {"node", "gpu", "fabric", "set"}},
  }};
  return sections;
}

constexpr std::array<std::string_view, 11> kCounts = {
    "nics",           "channels",         "nvlink_domain",  "ffn",
    "virtual_stages", "mean_length",      "tensor",         "context",
    "micro_batch",    "recompute_layers", "attended_length"};

std::vector<std::string> texts(const YamlValue& list) {
  std::vector<std::string> result;
  for (const YamlValue& item : list.items()) result.push_back(item.text());
  return result;
}

Rule read_rule(YamlMap map, const Section& section) {
  Rule rule;
  rule.match = texts(map.at("match"));
  std::vector<std::string_view> keys = section.keys;
  keys.insert(keys.end(), {"reason", "note"});
  for (const std::string_view key : keys) {
    const auto value = map.find(key);
    if (!value) continue;
    if (key == "set") {
      rule.set = texts(*value);
    } else if (key == "types") {
      // As one text, with a space before and after each.
      std::string& types = rule.values["types"] = " ";
      for (const std::string& type : texts(*value)) types += type + " ";
    } else {
      if ((key == "share" || key == "masked") && value->ratio() > 1)
        value->fail("expected at most 1");
      if (std::ranges::find(kCounts, key) != kCounts.end()) value->count();
      rule.values[std::string(key)] = value->text();
    }
  }
  map.finish();
  return rule;
}

}  // namespace

std::string Rule::operator[](std::string_view key) const {
  const auto value = values.find(key);
  return value == values.end() ? "" : value->second;
}

const Rule* Rules::find(std::string_view section, std::string_view cell) const {
  const auto rules = sections.find(section);
  if (rules == sections.end()) return nullptr;
  for (const Rule& rule : rules->second)
    for (const std::string& text : rule.match)
      if (text == "*" || cell.find(text) != std::string_view::npos) return &rule;
  return nullptr;
}

Rules load_rules(const std::string& path) {
  const YamlFile file = YamlFile::open(path);
  YamlMap map = file.root().map();
  Rules rules{.path = path, .sections = {}};
  for (const Section& section : known_sections()) {
    std::vector<Rule>& list = rules.sections[std::string(section.name)];
    for (const YamlValue& item : map.at(section.name).items())
      list.push_back(read_rule(item.map(), section));
  }
  map.finish();
  return rules;
}

}  // namespace windtunnel

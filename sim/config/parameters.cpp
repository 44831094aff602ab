// What a family declares, read from YAML.
#include <fmt/format.h>

#include "config/loaders.hpp"

namespace windtunnel {
namespace {

// One value or a list of them.
std::vector<double> one_or_more(const YamlValue& value, QuantityKind kind) {
  if (!value.is(YamlNode::Kind::List)) return {value.quantity(kind, true)};
  std::vector<double> list;
  for (const YamlValue& item : value.items()) list.push_back(item.quantity(kind, true));
  if (list.empty()) value.fail("the list is empty");
  return list;
}

std::vector<double> counts(const YamlValue& value, std::int64_t most) {
  std::vector<double> list;
  for (const YamlValue& item : value.items()) list.push_back(double(item.integer(1, most)));
  if (list.empty()) value.fail("the list is empty");
  return list;
}

std::vector<double> letters(const YamlValue& value) {
  const std::string text = value.text();
  return {text.begin(), text.end()};
}

std::vector<double> read_parameter(const YamlValue& value, ParameterKind kind, std::int64_t most) {
  switch (kind) {
    case ParameterKind::Count:
      return {double(value.integer(1, most))};
    case ParameterKind::Ratio:
      return {value.ratio()};
    case ParameterKind::Flag:
      return {value.flag() ? 1.0 : 0.0};
    case ParameterKind::DataRate:
      return {value.quantity(QuantityKind::DataRate)};
    case ParameterKind::Size:
      return {value.quantity(QuantityKind::ByteSize, true)};
    case ParameterKind::Time:
      return {value.quantity(QuantityKind::Duration, true)};
    case ParameterKind::Counts:
      return counts(value, most);
    case ParameterKind::Times:
      return one_or_more(value, QuantityKind::Duration);
    case ParameterKind::Sizes:
      return one_or_more(value, QuantityKind::ByteSize);
    case ParameterKind::Letters:
      return letters(value);
  }
  return {};
}

bool is_list(ParameterKind kind) {
  return kind == ParameterKind::Counts || kind == ParameterKind::Times ||
         kind == ParameterKind::Sizes || kind == ParameterKind::Letters;
}

}  // namespace

Parameters read_parameters(YamlMap& map, std::span<const ParameterSpec> specs, std::int64_t most) {
  Parameters parameters;
  for (const ParameterSpec& spec : specs) {
    const auto value = spec.required ? map.at(spec.name) : map.find(spec.name);
    if (value)
      parameters.set(spec.name, read_parameter(*value, spec.kind, most));
    else if (is_list(spec.kind))
      parameters.set(spec.name, std::vector<double>());
    else
      parameters.set(spec.name, spec.fallback);
  }
  return parameters;
}

}  // namespace windtunnel

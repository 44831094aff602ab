// A model file: a family and its dimensions.
#include <fmt/format.h>

#include "config/loaders.hpp"

namespace windtunnel {
namespace {

constexpr std::int64_t kMostLayers = 1 << 14;

// Layers that the parameters ask for, where a family says it in one of the usual ways.
double layers_asked(const Parameters& parameters) {
  double layers = 0;
  for (const char* name : {"layers", "blocks"})
    if (parameters.has(name))
      for (const double count : parameters.list(name)) layers += count;
  return layers;
}

}  // namespace

Model checked_model(YamlMap& map, const std::string& name, const ModelFamily& family,
                    const Parameters& parameters) {
  if (layers_asked(parameters) > double(kMostLayers))
    map.fail(fmt::format("{} layers; the most is {}", layers_asked(parameters), kMostLayers));
  const std::string why = family.limits(parameters);
  if (!why.empty()) map.fail(why);
  return build_model(name, family, parameters);
}

Model read_model(YamlMap map, const std::string& path) {
  if (!map.has("family") && (map.has("model_type") || map.has("architectures")))
    return read_hugging_face(std::move(map), path);
  std::string name, source;
  read_name(map, name, source);
  const ModelFamily& family = row_of(model_families(), map.at("family"));
  const bool is_checked = family.name != "synthetic" && family.name != "mlp";
  const auto count = is_checked && is_root(map) ? map.at("parameters") : map.find("parameters");
  const std::int64_t stated = count ? count->integer(1, std::int64_t{1} << 62) : 0;
  const Parameters parameters = read_parameters(map, family.parameters, kLargestDimension);
  map.finish();

  Model model = checked_model(map, name, family, parameters);
  model.source = source;
  if (count && stated != model.parameter_count())
    count->fail(fmt::format("the file says {} parameters, its dimensions give {}", stated,
                            model.parameter_count()));
  return model;
}

}  // namespace windtunnel

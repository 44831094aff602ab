#include "plan/data_set.hpp"

#include <fmt/format.h>

#include "base/check.hpp"

namespace windtunnel {

ImageShape image_shape(DataFormat format) {
  switch (format) {
    case DataFormat::Mnist:
      return {.colors = 1, .side = 28, .classes = 10};
    case DataFormat::Cifar10:
      return {.colors = 3, .side = 32, .classes = 10};
  }
  SIM_CHECK(false, "unknown data format");
  return {};
}

std::string data_complaint(const Model& model, DataFormat format) {
  const ImageShape shape = image_shape(format);
  const Parameters& parameters = model.parameters;
  if (!parameters.has("image") && !parameters.has("inputs"))
    return fmt::format("the family '{}' does not train on images", model.family->name);
  if (parameters.has("inputs") && parameters.count("inputs") != shape.numel())
    return fmt::format("an image has {} x {} x {} = {} numbers, but the model has {} inputs",
                       shape.colors, shape.side, shape.side, shape.numel(),
                       parameters.count("inputs"));
  if (parameters.has("image") && parameters.count("image") != shape.side)
    return fmt::format("an image has {} x {} pixels, but the model takes {} x {}", shape.side,
                       shape.side, parameters.count("image"), parameters.count("image"));
  const long long classes = parameters.count(parameters.has("classes") ? "classes" : "outputs");
  if (classes < shape.classes)
    return fmt::format("the images are of {} classes, but the model knows {}", shape.classes,
                       classes);
  return {};
}

}  // namespace windtunnel

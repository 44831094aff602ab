// A model of given times instead of dimensions, for teaching schedules and for exact tests. Every
// layer is one kernel a pass. The size of a micro-batch and the number type change nothing: the
// times are those of whatever micro-batch one has in mind. Nothing counts towards MFU.
#include <algorithm>
#include <cmath>

#include "model/families.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"layers"},
    {"forward", ParameterKind::Times},             // one for all layers, or one for each
    {"backward_input", ParameterKind::Times},      // likewise
    {"backward_weight", ParameterKind::Times},     // likewise
    {"message", ParameterKind::Size},              // a layer's output
    {"activation", ParameterKind::Size},           // kept by a layer from forward to backward
    {"layer_bytes", ParameterKind::Sizes, false},  // weights at 4 bytes each; absent: none
};
constexpr double kBytesOfParameter = 4, kLargestLayer = 1024.0 * 1024 * 1024 * 1024 * 1024;

std::string limits(const Parameters& parameters) {
  const auto layers = std::size_t(parameters.count("layers"));
  for (const char* name : {"forward", "backward_input", "backward_weight", "layer_bytes"}) {
    const std::size_t size = parameters.list(name).size();
    const bool may_be_absent = std::string_view(name) == "layer_bytes";
    if (size == layers || size == 1 || (size == 0 && may_be_absent)) continue;
    return std::string(name) + " has " + std::to_string(size) + " values for " +
           std::to_string(layers) + " layers; expected one, or one for each";
  }
  for (const double bytes : parameters.list("layer_bytes")) {
    if (bytes > kLargestLayer) return "a layer has more than 1 PiB of layer_bytes";
    if (std::fmod(bytes, kBytesOfParameter) != 0)
      return "layer_bytes is not a multiple of 4 bytes, the size of a parameter";
  }
  return {};
}

double value_for(const Parameters& parameters, std::string_view name, int layer) {
  const std::vector<double>& list = parameters.list(name);
  if (list.empty()) return 0;
  return list.size() == 1 ? list.front() : list[std::size_t(layer)];
}

std::vector<Layer> layers(const Parameters& parameters) {
  std::vector<Layer> list;
  for (int i = 0; i < parameters.count("layers"); ++i) {
    Layer layer = {"layer " + std::to_string(i), LayerKind::Block, {}};
    const double bytes = value_for(parameters, "layer_bytes", i);
    if (bytes > 0) layer.tensors.push_back({"weight", std::int64_t(bytes / kBytesOfParameter)});
    list.push_back(layer);
  }
  return list;
}

// Its duration is the whole time on the device, launch included.
Work fixed(double seconds) {
  return {.op = OpClass::Fixed, .kernels = 0, .duration = Seconds(seconds)};
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const auto time = [&](std::string_view name) { return value_for(model.parameters, name, layer); };
  LayerWork work;
  work.forward = {{"forward", fixed(time("forward"))}};
  work.backward = {{"backward", fixed(time("backward_input") + time("backward_weight"))}};
  work.backward_input = {{"backward_input", fixed(time("backward_input"))}};
  work.backward_weight = {{"backward_weight", fixed(time("backward_weight"))}};
  work.output = Bytes(model.parameters.number("message"));
  work.activation = work.held = Bytes(model.parameters.number("activation"));
  if (slice.recompute == Recompute::Full) {
    work.recompute = work.forward;
    const Bytes input = std::min(work.output, work.activation);
    work.recompute_buffer = work.activation - input;
    work.activation = input;
  }
  return work;
}

}  // namespace

ModelFamily synthetic_family() {
  return {.name = "synthetic",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = unsplit_limit,
          .is_sequence = false,
          .source = "times given by the model file"};
}

}  // namespace windtunnel

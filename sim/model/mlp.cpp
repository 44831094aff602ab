// A multilayer perceptron for classification: inputs -> hidden, `layers` times hidden -> hidden,
// hidden
// -> outputs, with biases, ReLU in between and cross entropy at the end.
#include "model/families.hpp"
#include "model/operation.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"inputs"},
    {"hidden"},
    {"layers"},  // hidden -> hidden
    {"outputs"},
};

constexpr GemmNames kLinear = {"linear", "linear.input_gradient", "linear.weight_gradient"};

std::string limits(const Parameters&) {
  return {};
}

Layer linear_layer(const std::string& name, LayerKind kind, std::int64_t in, std::int64_t out) {
  return {name, kind, {{name + ".weight", in * out}, {name + ".bias", out}}};
}

std::vector<Layer> layers(const Parameters& parameters) {
  const std::int64_t hidden = parameters.count("hidden");
  std::vector<Layer> list = {
      linear_layer("input", LayerKind::Embedding, parameters.count("inputs"), hidden)};
  for (int i = 0; i < parameters.count("layers"); ++i)
    list.push_back(linear_layer("block " + std::to_string(i), LayerKind::Block, hidden, hidden));
  list.push_back(linear_layer("head", LayerKind::Head, hidden, parameters.count("outputs")));
  return list;
}

LayerWork work(const Model& model, int layer, const Slice& slice) {
  const Parameters& parameters = model.parameters;
  const LayerKind kind = model.layers[std::size_t(layer)].kind;
  const bool is_first = kind == LayerKind::Embedding, is_last = kind == LayerKind::Head;
  const std::int64_t samples = slice.micro_batch;
  const std::int64_t in = parameters.count(is_first ? "inputs" : "hidden");
  const std::int64_t out = parameters.count(is_last ? "outputs" : "hidden");
  const auto bytes = [&](std::int64_t features) {
    return Bytes(activation_bytes(slice.type) * double(samples * features));
  };
  std::vector<Operation> operations = {
      linear_operation(kLinear, samples, in, out, slice.type, !is_first)};
  operations.push_back(is_last ? classification_loss(samples, out)
                               : relu_operation("relu", double(samples * out), slice.type));
  LayerWork work = assembled_layer(operations, kind, bytes(in), is_last ? Bytes(0) : bytes(out),
                                   slice.recompute);
  if (is_last) work.logits = Bytes(4.0 * double(samples * out));
  return work;
}

}  // namespace

ModelFamily mlp_family() {
  return {.name = "mlp",
          .parameters = kParameters,
          .limits = limits,
          .layers = layers,
          .work = work,
          .slice_limits = unsplit_limit,
          .is_sequence = false,
          .source = "Rumelhart et al. 1986, Nature 323"};
}

}  // namespace windtunnel

#include "model/model.hpp"

namespace windtunnel {

const ModelFamily& recorded_family() {
  static const ModelFamily family = {
      .name = "recorded",
      .parameters = {},
      .limits = [](const Parameters&) { return std::string(); },
      .layers = [](const Parameters&) { return std::vector<Layer>(); },
      .work = [](const Model&, int, const Slice&) { return LayerWork(); },
      .slice_limits = [](const Model&, const Slice&) { return std::string(); },
      .is_sequence = false,
      .source = "recorded elsewhere",
  };
  return family;
}

}  // namespace windtunnel

#include <array>

#include "model/families.hpp"

namespace windtunnel {

std::span<const ModelFamily> model_families() {
  static const std::array families = {gpt_family(),  llama_family(),    hybrid_family(),
                                      bert_family(), vit_family(),      resnet_family(),
                                      mlp_family(),  synthetic_family()};
  return families;
}

const ModelFamily* find_model_family(std::string_view name) {
  for (const ModelFamily& family : model_families())
    if (family.name == name) return &family;
  return nullptr;
}

}  // namespace windtunnel

// The rows of the table of families that the backend runs, one file each. Layers, tensors and their
// order mirror sim/model's file of the same name.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/model/layer_module.hpp"

namespace windtunnel {

struct LayerArguments {
  const Job& job;
  int layer;
  LayerContext& context;
  std::uint64_t seed;
  at::Tensor tied_words;

  const Parameters& parameters() const { return job.model.parameters; }
  LayerKind kind() const { return job.model.layers[std::size_t(layer)].kind; }
  // Whether all its tensors are, but adapters.
  bool frozen() const { return job.model.layers[std::size_t(layer)].tensors.front().frozen; }
};

struct FamilyModules {
  std::string_view name;  // as in sim/model
  std::unique_ptr<LayerModule> (*make)(const LayerArguments& arguments);
  // What a layer that is not the last one hands on.
  std::vector<std::int64_t> (*output_shape)(const Job& job, int layer);
  std::string (*complaint)(const Model& model);  // null: runs every model of the family
};

FamilyModules gpt_modules();
FamilyModules llama_modules();
FamilyModules bert_modules();
FamilyModules vit_modules();
FamilyModules resnet_modules();
FamilyModules mlp_modules();

}  // namespace windtunnel

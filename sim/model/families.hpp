// The rows of the table of model families, one function a file.
#pragma once

#include <string>
#include <vector>

#include "model/model.hpp"

namespace windtunnel {

ModelFamily gpt_family();
ModelFamily llama_family();
ModelFamily hybrid_family();
ModelFamily bert_family();
ModelFamily vit_family();
ModelFamily resnet_family();
ModelFamily mlp_family();
ModelFamily synthetic_family();

// A declared but absent optional count is 0: then `otherwise`.
inline std::int64_t count_or(const Parameters& parameters, std::string_view name,
                             std::int64_t otherwise) {
  const std::int64_t value = parameters.count(name);
  return value == 0 ? otherwise : value;
}

// Why `value` is not a multiple of `divisor`, or empty.
inline std::string multiple_limit(std::string_view what, std::int64_t value,
                                  std::string_view divisor_name, std::int64_t divisor) {
  if (value % divisor == 0) return {};
  return std::string(what) + " " + std::to_string(value) + " is not a multiple of " +
         std::string(divisor_name) + " " + std::to_string(divisor);
}

// Why `value` is too large, or empty. Keeps products of dimensions countable in 63 bits.
inline std::string most_limit(std::string_view what, std::int64_t value, std::int64_t most) {
  if (value <= most) return {};
  return std::string(what) + " " + std::to_string(value) + " is above " + std::to_string(most);
}

// Why a sequence is too long for learned positions, or empty.
inline std::string positions_limit(int sequence, std::int64_t positions) {
  if (sequence <= positions) return {};
  return "a sequence of " + std::to_string(sequence) + " tokens, but the model has " +
         std::to_string(positions) + " learned positions";
}

// Why a model that only works whole on one rank refuses the slice, or empty.
inline std::string unsplit_limit(const Model& model, const Slice& slice) {
  if (slice.tensor == 1) return {};
  return "models of the family '" + std::string(model.family->name) +
         "' have no tensor parallelism";
}

}  // namespace windtunnel

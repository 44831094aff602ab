#include <fmt/format.h>

#include "commands/validate_mapping.hpp"

namespace windtunnel {

namespace {

// Megatron-LM's --make-vocab-size-divisible-by.
constexpr long long kVocabularyUnit = 128;

}  // namespace

std::string RowMapping::transformer(const Rule& rule) {
  const long long hidden = size("hidden"), heads = size("heads");
  blocks_ = size("layers");
  long long vocabulary = rule["family"] == "bert" ? size_or("vocab", 30522) : size("vocab");
  const long long unit = kVocabularyUnit * tensor_;
  const std::string pads = (*framework_)["pads"];
  if (vocabulary % unit != 0 && (pads == "true" || (pads == "split" && tensor_ > 1))) {
    vocabulary = (vocabulary + unit - 1) / unit * unit;
    assume(fmt::format("vocabulary padded to {}", vocabulary));
  }
  const long long key_heads = row_.count("kv_heads").value_or(heads);
  const long long head = row_.count("head_dim").value_or(hidden / heads);
  long long ffn = row_.count("ffn").value_or(4 * hidden);
  if (const std::string of_dense_blocks = rule["ffn"]; !of_dense_blocks.empty())
    ffn = std::stoll(of_dense_blocks);
  std::string family = rule["family"];
  // A GPT whose shape says that it is of the later kind.
  const bool is_later = key_heads != heads || head * heads != hidden || ffn % (4 * hidden) != 0;
  if (family == "gpt" && is_later && rule["extra"].empty()) {
    family = "llama";
    assume("family llama by its shape");
  }
  std::string text = fmt::format(
      "model: {{name: published, family: {}, layers: {}, hidden: {}, heads: {}, "
      "ffn: {}, vocab: {}",
      family, blocks_, hidden, heads, ffn, vocabulary);
  if (family == "llama") text += fmt::format(", kv_heads: {}, head_size: {}", key_heads, head);
  if (family != "llama") text += fmt::format(", max_sequence: {}", size("seq_len"));
  // The part of the positions that the head of an encoder runs on, by the framework's scripts.
  if (const std::string masked = (*framework_)["masked"]; family == "bert" && !masked.empty()) {
    text += ", masked: " + masked;
    assume("the head runs on a part of the positions: " + masked);
  }
  if (!rule["extra"].empty()) text += ", " + rule["extra"];
  return text + experts() + "}\n";
}

std::string RowMapping::experts() {
  const auto experts = row_.count("experts");
  if (!experts) return "";
  assume("every expert gets the same number of tokens");
  return fmt::format(", experts: {}, experts_per_token: {}", *experts, size("topk"));
}

std::string RowMapping::model() {
  const std::string cell = row_.text("model") + " | " + row_.text("arch");
  const Rule& found = rule("models", cell);
  model_ = &found;
  is_images_ = found["images"] == "true";
  read_sizes();
  return found["model"].empty() ? transformer(found) : fmt::format("model: {}\n", found["model"]);
}

}  // namespace windtunnel

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "commands/validate_mapping.hpp"

namespace windtunnel {

std::string RowMapping::precision() {
  std::string stated = row_.text("precision");
  const bool is_stated =
      !stated.empty() && !contains(stated, "(NA)") && !contains(stated, "fp8 or fp4");
  if (!is_stated && layout_ && !(*layout_)["precision"].empty()) {
    stated = (*layout_)["precision"];
    assume("precision " + stated + " as its source's configurations");
  }
  const Rule& found = rule("precisions", stated);
  type_ = found["type"];
  attention_ = found["attention"];
  if (stated.starts_with("NA") || contains(stated, "assumed") || contains(stated, "not stated"))
    assume("precision " + type_);
  std::string gradients = (*framework_)["gradients"];
  // Composer names so the mode without fp32 anywhere.
  if (contains(stated, "PURE")) gradients = "same";
  if (contains(stated, "fp32 gradient")) gradients = "fp32";
  if (gradients == "fp32 for bf16") gradients = type_ == "bf16" ? "fp32" : "same";
  // No software here reduces fp8 or fp4.
  if (gradients == "same") gradients = type_ == "fp8" || type_ == "fp4" ? "bf16" : type_;
  return fmt::format("precision: {{compute: {}, gradients: {}}}\n", type_, gradients);
}

std::string RowMapping::execution() {
  std::string text;
  if (!schedule_.empty()) text += fmt::format("schedule: {}\n", schedule_);
  std::string attention = row_.text("flash_attn");
  if (attention.empty()) {
    attention = attention_.empty() ? (*framework_)["attention"] : attention_;
    if (!is_images_) assume("attention " + attention);
  }
  const Rule& core = rule("attention", attention);
  std::string kernel = core["attention"];
  const bool is_fused_somehow = attention == "yes" || contains(attention, "fused attention");
  if (const std::string usual = (*framework_)["fused_attention"];
      is_fused_somehow && !usual.empty())
    kernel = usual;
  text += fmt::format("attention: {}\n", kernel);
  const std::string kernels = core["kernels"].empty() ? usual("kernels") : core["kernels"];
  if (!kernels.empty()) text += fmt::format("kernels: {}\n", kernels);
  for (const char* key : {"data_parallel", "pipeline_transfer", "gradient_accumulation",
                          "cross_entropy", "host", "software"})
    if (const std::string value = usual(key); !value.empty())
      text += fmt::format("{}: {}\n", key, value);
  if (is_images_) text += "optimizer: sgd\ngradient_clipping: false\n";
  if (layout_ && (*layout_)["expandable_segments"] == "true") {
    assume("expandable segments as its recipe");
    text += "expandable_segments: true\n";
  }
  return text + recomputation();
}

// What recomputes; where only a part of the blocks does, how many of a stage.
std::string RowMapping::recomputation() {
  const Rule& stated = rule("recompute", row_.text("recompute"));
  std::string recompute = stated["recompute"];
  double share = stated["share"].empty() ? 1 : std::stod(stated["share"]);
  if (recompute == "selective" && !(*framework_)["selective"].empty())
    recompute = (*framework_)["selective"];
  if (recompute == "blocks") {
    share = share_by_utilization();
    recompute = share > 0 ? "full" : "none";
  }
  std::string of_layout;
  if (const std::string word = usual("recompute"); recompute == "least" && !word.empty()) {
    recompute = word;
    assume("recompute " + word + " as its recipes");
    if (layout_) of_layout = (*layout_)["recompute_layers"];
  }
  result_.recompute = {recompute};
  if (recompute == "least") result_.recompute = {"none", "selective", "full"};
  if (is_images_) result_.recompute = {"none"};
  if (!of_layout.empty()) return fmt::format("recompute_layers: {}\n", of_layout);
  if (share == 0 || share == 1) return "";
  const long long of_stage = blocks_ / (pipeline_ * chunks_);
  const long long count = std::max(1LL, std::llround(share * double(of_stage)));
  assume(fmt::format("{} of {} blocks recompute", count, of_stage));
  return fmt::format("recompute_layers: {}\n", count);
}

// Hardware FLOPs count a forward pass more, a third of the model's, where a block recomputes.
double RowMapping::share_by_utilization() const {
  const auto model = row_.number("mfu_pct"), hardware = row_.number("hfu_pct");
  if (!model || !hardware) refuse("how many blocks recompute is not stated");
  return std::clamp(3 * (*hardware / *model - 1), 0.0, 1.0);
}

}  // namespace windtunnel

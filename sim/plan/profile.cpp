#include "plan/profile.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.hpp"
#include "plan/gpu_text.hpp"

namespace windtunnel {

Seconds MeasuredCurve::at(double size) const {
  SIM_CHECK(!points.empty(), "a measured curve needs a point");
  const auto above = std::find_if(points.begin(), points.end(),
                                  [size](const Point& point) { return size <= point.size; });
  if (above == points.begin()) return above->figure.time;
  if (above == points.end()) return points.back().figure.time * (size / points.back().size);
  const Point& low = *std::prev(above);
  const double part = (size - low.size) / (above->size - low.size);
  return low.figure.time + (above->figure.time - low.figure.time) * part;
}

namespace {

std::string figure_text(const Figure& figure) {
  return fmt::format("{:.5e} s, {:.2f} %", figure.time.value, 100 * figure.spread);
}

// [[size, time, spread], ...]
std::string curve_text(const MeasuredCurve& curve, std::string_view unit, int indent) {
  std::string text;
  for (const MeasuredCurve::Point& point : curve.points)
    text += fmt::format("\n{:{}}- [{:.0f}{}, {}]", "", indent, point.size, unit,
                        figure_text(point.figure));
  return text + "\n";
}

std::string layer_text(const LayerTime& layer) {
  std::string text =
      fmt::format("  - model: {}\n    layer: {}\n    slice: {}\n    kin: {}\n    size: {:.0f}\n",
                  quoted(layer.identity.model), quoted(layer.identity.layer),
                  quoted(layer.identity.slice), quoted(layer.kin.name), layer.kin.size);
  for (std::size_t pass = 0; pass < layer.passes.size(); ++pass)
    if (layer.passes[pass])
      text += fmt::format("    {}: [{}]\n", kPassNames[pass], figure_text(*layer.passes[pass]));
  return text;
}

std::string optimizer_text(const OptimizerTime& time) {
  std::string text = fmt::format("  - job: {}\n    update:{}", quoted(time.identity),
                                 curve_text(time.update, "", 6));
  if (time.norm) text += "    norm:" + curve_text(*time.norm, "", 6);
  return text;
}

std::string collective_text(const CollectiveTime& time) {
  return fmt::format("  - kind: {}\n    purpose: {}\n    ranks: {}\n    nodes: {}\n    points:{}",
                     name_of(kCollectiveKindNames, time.kind),
                     name_of(kCollectivePurposeNames, time.purpose), time.ranks, time.nodes,
                     curve_text(time.curve, " B", 6));
}

std::string slowdown_text(const SlowdownBeside& slowdown) {
  const auto text = [](const Ratio& ratio) {
    return fmt::format("[{:.5g}, {:.2f} %]", ratio.value, 100 * ratio.spread);
  };
  return fmt::format("  - ranks: {}\n    nodes: {}\n    gemm: {}\n    copy: {}\n", slowdown.ranks,
                     slowdown.nodes, text(slowdown.gemm), text(slowdown.copy));
}

template <class Item, class Text>
std::string section(std::string_view key, const std::vector<Item>& items, const Text& text_of) {
  if (items.empty()) return "";
  std::string text = fmt::format("{}:\n", key);
  for (const Item& item : items) text += text_of(item);
  return text;
}

}  // namespace

std::string to_yaml(const Profile& profile) {
  std::string text = fmt::format("name: {}\nsource: {}\ndate: {}\nhardware: {}\nsoftware: {}\n",
                                 quoted(profile.name), quoted(profile.source), quoted(profile.date),
                                 quoted(profile.hardware), quoted(profile.software));
  if (!profile.noise.empty()) text += fmt::format("noise: {}\n", quoted(profile.noise));
  if (profile.cpu_seconds_per_byte)
    text += fmt::format("cpu_per_byte: {:.5g} ns/B\n", *profile.cpu_seconds_per_byte * 1e9);
  if (profile.kernel_issue)
    text += fmt::format("kernel_issue: {:.5e} s\n", profile.kernel_issue->value);
  if (profile.gpu) text += gpu_text(*profile.gpu);
  text += section("layers", profile.layers, layer_text);
  text += section("optimizers", profile.optimizers, optimizer_text);
  text += section("collectives", profile.collectives, collective_text);
  text += section("messages", profile.messages, [](const MessageTime& time) {
    return fmt::format("  - nodes: {}\n    points:{}", time.nodes, curve_text(time.curve, " B", 6));
  });
  text += section("slowdowns", profile.slowdowns, slowdown_text);
  return text;
}

}  // namespace windtunnel

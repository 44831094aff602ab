// Numbers as people read them, and the names under which all outputs show the same parts.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <span>
#include <string>
#include <string_view>

#include "base/units.hpp"
#include "report/report.hpp"

namespace windtunnel {

// The parts of a Breakdown in the order of all outputs; texts show '_' as a space.
struct BreakdownPart {
  std::string_view key;
  Seconds Breakdown::*value;
};
inline constexpr std::array<BreakdownPart, 12> kBreakdownParts = {{
    {"forward", &Breakdown::forward},
    {"backward", &Breakdown::backward},
    {"input_gradient", &Breakdown::input_gradient},
    {"weight_gradient", &Breakdown::weight_gradient},
    {"recompute", &Breakdown::recompute},
    {"optimizer", &Breakdown::optimizer},
    {"kernels", &Breakdown::kernels},
    {"tensor_communication", &Breakdown::tensor_communication},
    {"pipeline_transfer", &Breakdown::pipeline_transfer},
    {"data_communication", &Breakdown::data_communication},
    {"other_communication", &Breakdown::other_communication},
    {"bubble", &Breakdown::bubble},
}};

// Four significant digits with a prefix that leaves one to three of them before the point;
// prefixes[base] is the one for 1.
inline std::string readable_scaled(double value, std::span<const std::string_view> prefixes,
                                   std::size_t base, std::string_view unit) {
  std::size_t prefix = base;
  // 999.95 would be shown as 1000 in four digits.
  for (; std::abs(value) >= 999.95 && prefix + 1 < prefixes.size(); ++prefix) value /= 1000;
  for (; value != 0 && std::abs(value) < 0.99995 && prefix > 0; --prefix) value *= 1000;
  const std::string_view gap = prefixes[prefix].empty() && unit.empty() ? "" : " ";
  return fmt::format("{:.4g}{}{}{}", value, gap, prefixes[prefix], unit);
}

// "62.11 GB", "312 TFLOP/s": decimal prefixes, 1 GB = 1e9 B.
inline std::string readable(double value, std::string_view unit) {
  static constexpr std::array<std::string_view, 7> kPrefixes = {"", "k", "M", "G", "T", "P", "E"};
  return readable_scaled(value, kPrefixes, 0, unit);
}

// "174.6 B": k, M, B (billion), T.
inline std::string readable_count(double count) {
  static constexpr std::array<std::string_view, 5> kPrefixes = {"", "k", "M", "B", "T"};
  return readable_scaled(count, kPrefixes, 0, "");
}

// From nanoseconds to days.
inline std::string readable_time(Seconds time) {
  static constexpr std::array<std::string_view, 4> kPrefixes = {"n", "u", "m", ""};
  constexpr double kMinute = 60, kHour = 3600, kDay = 86400;
  if (time.value >= 2 * kDay) return fmt::format("{:.4g} days", time.value / kDay);
  if (time.value >= 2 * kHour) return fmt::format("{:.4g} h", time.value / kHour);
  if (time.value >= 10 * kMinute) return fmt::format("{:.4g} min", time.value / kMinute);
  return readable_scaled(time.value, kPrefixes, 3, "s");
}

inline std::string readable_share(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

// "$0.05333", "$266.93", "$1.235 M".
inline std::string readable_usd(Usd usd) {
  if (usd.value >= 1e5) return "$" + readable_count(usd.value);
  if (usd.value >= 1) return fmt::format("${:.2f}", usd.value);
  return fmt::format("${:.4g}", usd.value);
}

// "bf16", from the table of names of an enumeration.
template <class Enum, std::size_t N>
std::string name_text(const std::array<std::string_view, N>& names, Enum value) {
  return std::string(name_of(names, value));
}

}  // namespace windtunnel

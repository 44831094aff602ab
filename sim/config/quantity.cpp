#include "config/quantity.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <span>

#include "config/yaml_text.hpp"

namespace windtunnel {
namespace {

// value = number * multiply / divide: a division by 1e6 rounds as the literal 2e-6 does, a
// multiplication by 1e-6 does not.
struct Unit {
  std::string_view name;
  double multiply;
  double divide = 1;
};

struct Family {
  std::string_view description;
  std::string_view example;
  std::span<const Unit> units;
  // Beyond these bounds nothing in the field is; within them no sum or quotient of the simulation
  // leaves the range of a double or of 64 bits.
  double least, most;
};

constexpr double kKi = 1024, kMi = kKi * kKi, kGi = kMi * kKi, kTi = kGi * kKi, kPi = kTi * kKi;

constexpr Unit kSizes[] = {{"B", 1},     {"kB", 1e3},  {"MB", 1e6},  {"GB", 1e9},
                           {"TB", 1e12}, {"PB", 1e15}, {"KiB", kKi}, {"MiB", kMi},
                           {"GiB", kGi}, {"TiB", kTi}, {"PiB", kPi}};
constexpr Unit kRates[] = {{"b/s", 1, 8},     {"kb/s", 1e3, 8}, {"Mb/s", 1e6, 8}, {"Gb/s", 1e9, 8},
                           {"Tb/s", 1e12, 8}, {"B/s", 1},       {"kB/s", 1e3},    {"MB/s", 1e6},
                           {"GB/s", 1e9},     {"TB/s", 1e12},   {"KiB/s", kKi},   {"MiB/s", kMi},
                           {"GiB/s", kGi},    {"TiB/s", kTi}};
constexpr Unit kTimes[] = {{"s", 1},    {"ms", 1, 1e3}, {"us", 1, 1e6}, {"ns", 1, 1e9},
                           {"min", 60}, {"h", 3600},    {"d", 86400}};
constexpr Unit kFlops[] = {{"FLOP", 1},     {"kFLOP", 1e3},  {"MFLOP", 1e6}, {"GFLOP", 1e9},
                           {"TFLOP", 1e12}, {"PFLOP", 1e15}, {"EFLOP", 1e18}};
constexpr Unit kFlopRates[] = {{"FLOP/s", 1},    {"kFLOP/s", 1e3},  {"MFLOP/s", 1e6},
                               {"GFLOP/s", 1e9}, {"TFLOP/s", 1e12}, {"PFLOP/s", 1e15},
                               {"EFLOP/s", 1e18}};
constexpr Unit kPowers[] = {{"W", 1}, {"kW", 1e3}, {"MW", 1e6}};
constexpr Unit kPrices[] = {{"USD/h", 1}};
constexpr Unit kPercents[] = {{"%", 1, 100}};
constexpr Unit kTimesPerByte[] = {{"ns/B", 1, 1e9}, {"ps/B", 1, 1e12}};

const Family& family_of(QuantityKind kind) {
  static const std::array<Family, 9> families = {
      {{"a size", "80 GB", kSizes, 1e-3, kPi},
       {"a data rate", "400 Gb/s", kRates, 1e-3, 1e18},
       {"a time", "2 us", kTimes, 1e-15, 1e9},
       {"a number of operations", "1 GFLOP", kFlops, 1e-3, 1e30},
       {"a compute rate", "312 TFLOP/s", kFlopRates, 1e-3, 1e24},
       {"a power", "400 W", kPowers, 1e-3, 1e9},
       {"a price", "21.96 USD/h", kPrices, 1e-6, 1e9},
       {"a percentage", "25 %", kPercents, 1e-9, 100},
       {"a time per byte", "0.7 ns/B", kTimesPerByte, 1e-15, 1e-3}}};
  return families[static_cast<std::size_t>(kind)];
}

std::string unit_names(const Family& family) {
  std::string names;
  for (const Unit& unit : family.units)
    names += fmt::format("{}{}", names.empty() ? "" : " ", unit.name);
  return names;
}

std::string_view without_spaces(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool read_number(std::string_view& text, double& value) {
  // from_chars alone would take "nan", "inf" and "-1".
  if (text.empty() || text.front() < '0' || text.front() > '9') return false;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || !std::isfinite(value)) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

std::string expected_quantity(QuantityKind kind) {
  const Family& family = family_of(kind);
  return fmt::format("{} such as \"{}\"", family.description, family.example);
}

ParsedQuantity parsed_quantity(QuantityKind kind, std::string_view text, bool allow_zero) {
  const Family& family = family_of(kind);
  const std::string expected =
      fmt::format("expected {}, got '{}'", expected_quantity(kind), shortened(text));
  std::string_view rest = without_spaces(text);
  double number = 0;
  if (!read_number(rest, number)) return {0, expected};
  rest = without_spaces(rest);
  if (rest.empty()) return {0, expected};
  for (const Unit& unit : family.units) {
    if (unit.name != rest) continue;
    const double value = number * unit.multiply / unit.divide;
    if (value == 0 && allow_zero) return {0, ""};
    if (value == 0) return {0, expected + ": it must be positive"};
    if (value > family.most) return {0, expected + ": too large"};
    if (value < family.least) return {0, expected + ": too small"};
    return {value, ""};
  }
  return {0, fmt::format("{} (the units are {})", expected, unit_names(family))};
}

}  // namespace windtunnel

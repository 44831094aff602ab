// Named parameters of a family (a fabric, a model). A family's table row declares what it takes;
// config/ reads exactly that from YAML, so adding a family touches its own room only.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.hpp"

namespace windtunnel {

// How a parameter is written in YAML and which unit its number has here.
enum class ParameterKind {
  Count,     // positive integer
  Ratio,     // positive number without unit
  Flag,      // true or false, held as 1 or 0
  DataRate,  // "400 Gb/s", held in bytes per second
  Size,      // "2 MiB", held in bytes
  Time,      // "2 us", held in seconds
  Counts,    // list of positive integers
  Times,     // one time or a list of times
  Sizes,     // one size or a list of sizes
  Letters,   // text, held as the codes of its letters
};

struct ParameterSpec {
  std::string_view name;
  ParameterKind kind = ParameterKind::Count;
  bool required = true;
  double fallback = 0;  // value of an optional parameter that is absent; lists are then empty
};

// Values by name; every declared name is present after loading.
class Parameters {
 public:
  void set(std::string_view name, double value) { values_[std::string(name)] = {value}; }
  void set(std::string_view name, std::vector<double> list) {
    values_[std::string(name)] = std::move(list);
  }
  bool has(std::string_view name) const { return values_.contains(std::string(name)); }
  double number(std::string_view name) const {
    const auto& list = this->list(name);
    SIM_CHECK(list.size() == 1, "parameter '" + std::string(name) + "' is not one number");
    return list.front();
  }
  long long count(std::string_view name) const { return static_cast<long long>(number(name)); }
  bool flag(std::string_view name) const { return number(name) != 0; }
  const std::vector<double>& list(std::string_view name) const {
    const auto found = values_.find(std::string(name));
    SIM_CHECK(found != values_.end(), "undeclared parameter '" + std::string(name) + "'");
    return found->second;
  }
  bool operator==(const Parameters&) const = default;

 private:
  std::map<std::string, std::vector<double>> values_;
};

}  // namespace windtunnel

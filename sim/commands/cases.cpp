#include "commands/cases.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>

#include "config/config_error.hpp"

namespace windtunnel {
namespace {

using Texts = std::vector<std::string>;

constexpr std::int64_t kLargestNumber = std::int64_t{1} << 53;

[[noreturn]] void refuse(const std::string& option, const std::string& why) {
  throw ConfigError(fmt::format("--vary {}: error: {}", option, why));
}

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(' ') + 1 - first));
}

// The parts between separators that stand outside of quotes and brackets.
Texts split(std::string_view text, char separator) {
  Texts parts;
  int depth = 0;
  char quote = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : separator;
    if (i < text.size() && quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (i == text.size() || (c == separator && depth <= 0)) {
      parts.push_back(trimmed(text.substr(start, i - start)));
      start = i + 1;
    }
  }
  return parts;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0 ||
      number > kLargestNumber)
    return std::nullopt;
  return number;
}

// 64..1024*2 as its numbers; any other text as itself.
Texts expanded(const std::string& option, const std::string& text) {
  const std::size_t dots = text.find("..");
  const auto first = dots == std::string::npos
                         ? std::nullopt
                         : whole_number(std::string_view(text).substr(0, dots));
  if (!first) return {text};
  const std::string_view rest = std::string_view(text).substr(dots + 2);
  const std::size_t sign = std::min(rest.find_first_of("*+"), rest.size());
  const auto last = whole_number(rest.substr(0, sign));
  const bool is_factor = sign < rest.size() && rest[sign] == '*';
  const auto step = sign < rest.size() ? whole_number(rest.substr(sign + 1)) : std::optional(1L);
  if (!last || !step || *step < (is_factor ? 2 : 1) || (is_factor && *first == 0))
    refuse(option, fmt::format("'{}' is not a range such as 1..8, 8..64+8 or 64..1024*2", text));
  if (*last < *first) refuse(option, fmt::format("the range '{}' ends before it begins", text));
  Texts numbers;
  for (std::int64_t i = *first; i <= *last; i = is_factor ? i * *step : i + *step) {
    numbers.push_back(std::to_string(i));
    if (numbers.size() > kMostCases)
      refuse(option, fmt::format("the range '{}' has more than {} values", text, kMostCases));
    if (is_factor && i > kLargestNumber / *step) break;
  }
  return numbers;
}

// "64..256*2:8..32*2" -> {64, 8}, {128, 16}, {256, 32}.
std::vector<Texts> points_of(const std::string& option, const std::string& item, std::size_t keys) {
  const Texts parts = keys == 1 ? Texts{item} : split(item, ':');
  if (parts.size() != keys)
    refuse(option, fmt::format("'{}' has {} values for {} keys", item, parts.size(), keys));
  std::vector<Texts> columns;
  for (const std::string& part : parts) {
    if (part.empty()) refuse(option, "an empty value; null takes a key away");
    columns.push_back(expanded(option, part));
    if (columns.back().size() != columns.front().size())
      refuse(option, fmt::format("'{}': the ranges have {} and {} values", item,
                                 columns.front().size(), columns.back().size()));
  }
  std::vector<Texts> points(columns.front().size());
  for (const Texts& column : columns)
    for (std::size_t i = 0; i < points.size(); ++i) points[i].push_back(column[i]);
  return points;
}

}  // namespace

Axis parsed_axis(const std::string& option) {
  if (option.find_first_of("\r\n") != std::string::npos)
    refuse(option, "expected one line of text");
  const std::size_t equals = option.find('=');
  const std::string form = "expected path=a,b,c, as in parallel.tensor=1,2,4";
  if (equals == std::string::npos) refuse(option, form);
  Axis axis;
  axis.keys = split(std::string_view(option).substr(0, equals), ',');
  for (const std::string& key : axis.keys)
    if (key.empty()) refuse(option, form);
  for (const std::string& item : split(std::string_view(option).substr(equals + 1), ','))
    for (Texts& point : points_of(option, item, axis.keys.size()))
      axis.points.push_back(std::move(point));
  return axis;
}

std::vector<std::string> keys_of(const std::vector<Axis>& axes) {
  Texts keys;
  for (const Axis& axis : axes) keys.insert(keys.end(), axis.keys.begin(), axis.keys.end());
  return keys;
}

std::vector<SweepCase> cases_of(const std::vector<Axis>& axes) {
  std::set<std::string> known;
  for (const std::string& key : keys_of(axes))
    if (!known.insert(key).second) refuse(key, "this key is varied twice");
  std::size_t count = 1;
  for (const Axis& axis : axes) {
    count *= axis.points.size();  // both factors are small enough
    if (count > kMostCases)
      refuse(axis.keys.front(), fmt::format("more than {} cases in all", kMostCases));
  }
  std::vector<SweepCase> cases;
  for (std::size_t index = 0; index < count; ++index) {
    SweepCase next;
    next.points.resize(axes.size());
    std::size_t rest = index;
    for (std::size_t a = axes.size(); a-- > 0; rest /= axes[a].points.size())
      next.points[a] = rest % axes[a].points.size();
    for (std::size_t a = 0; a < axes.size(); ++a)
      for (const std::string& value : axes[a].points[next.points[a]]) next.values.push_back(value);
    cases.push_back(std::move(next));
  }
  return cases;
}

std::vector<std::string> overrides_of(const std::vector<Axis>& axes, const SweepCase& sweep_case) {
  const Texts keys = keys_of(axes);
  Texts overrides;
  for (std::size_t i = 0; i < keys.size(); ++i)
    overrides.push_back(keys[i] + "=" + sweep_case.values[i]);
  return overrides;
}

}  // namespace windtunnel

// Strict reading: YamlValue and YamlMap.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>

#include "config/yaml_file.hpp"
#include "config/yaml_text.hpp"

namespace windtunnel {
namespace {

// Wide enough for token counts and slowdowns, and far from the ends of a double.
constexpr double kLeastRatio = 1e-9, kLargestRatio = 1e18;

// What stands at a node, for "expected ..., got ...".
std::string description(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::Null:
      return "nothing";
    case YamlNode::Kind::List:
      return "a list";
    case YamlNode::Kind::Map:
      return "a mapping";
    case YamlNode::Kind::Scalar:
      break;
  }
  return fmt::format("'{}'", shortened(node.text));
}

std::string joined(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

std::string list_of(const std::vector<std::string_view>& names) {
  std::string text;
  for (const std::string_view name : names)
    text += fmt::format("{}'{}'", text.empty() ? "" : ", ", shortened(name));
  return text;
}

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string suggestion(std::string_view text, const std::vector<std::string_view>& names) {
  if (text.size() > 60) return "";
  std::string_view closest;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (const std::string_view name : names) {
    const std::size_t distance = edit_distance(text, name);
    if (distance < least) least = distance, closest = name;
  }
  // One edit in three letters; words of one or two letters are all close to each other.
  const std::size_t shorter = std::min(text.size(), closest.size());
  if (shorter < 3 || least > std::max<std::size_t>(1, shorter / 3)) return "";
  return fmt::format(" (did you mean '{}'?)", closest);
}

void YamlValue::fail(const std::string& message) const {
  fail_at(*node_->source, node_->line, node_->column,
          path_.empty() ? message : fmt::format("{}: {}", path_, message));
}

YamlMap YamlValue::map() const {
  return YamlMap(*this);
}

std::vector<YamlValue> YamlValue::items() const {
  if (!is(YamlNode::Kind::List)) fail("expected a list, got " + description(*node_));
  std::vector<YamlValue> values;
  for (std::size_t i = 0; i < node_->items.size(); ++i)
    values.emplace_back(node_->items[i], fmt::format("{}[{}]", path_, i));
  return values;
}

std::string YamlValue::text() const {
  if (!is(YamlNode::Kind::Scalar) || node_->text.empty())
    fail("expected text, got " + description(*node_));
  if (!node_->overrides.empty()) {
    const YamlNode::Override& first = node_->overrides.front();
    YamlValue(first.value, path_).fail(fmt::format("{} has no keys", description(*node_)));
  }
  return node_->text;
}

std::string YamlValue::scalar(const std::string& expected) const {
  if (!is(YamlNode::Kind::Scalar) || node_->quoted || node_->text.empty())
    fail(fmt::format("expected {}, got {}{}", expected, node_->quoted ? "the quoted text " : "",
                     description(*node_)));
  return text();
}

bool YamlValue::flag() const {
  const std::string word = scalar("true or false");
  if (word != "true" && word != "false") fail("expected true or false, got " + description(*node_));
  return word == "true";
}

std::int64_t YamlValue::integer(std::int64_t least, std::int64_t most) const {
  const std::string expected = least == 1   ? "a positive integer"
                               : least == 0 ? "an integer from 0"
                                            : "an integer";
  const std::string digits = scalar(expected);
  const auto refuse = [&](std::string_view why) {
    fail(fmt::format("expected {}, got {}{}", expected, description(*node_), why));
  };
  const bool negative = digits.starts_with('-');
  const std::string_view magnitude = std::string_view(digits).substr(negative ? 1 : 0);
  if (magnitude.empty() || magnitude.find_first_not_of("0123456789") != std::string::npos)
    refuse("");
  if (magnitude.size() > 1 && magnitude.front() == '0') refuse(" (a leading zero)");
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (!negative && (failure != std::errc() || value > most))
    refuse(fmt::format(" (the largest is {})", most));
  if (failure != std::errc() || value < least) refuse("");
  return value;
}

int YamlValue::count() const {
  return int(integer(1, std::numeric_limits<int>::max()));
}

double YamlValue::ratio() const {
  const std::string word = scalar("a positive number");
  std::string_view rest = word;
  double value = 0;
  if (!read_number(rest, value) || !rest.empty() || value <= 0)
    fail("expected a positive number, got " + description(*node_));
  if (value < kLeastRatio || value > kLargestRatio)
    fail(fmt::format("expected a positive number from {:g} to {:g}, got {}", kLeastRatio,
                     kLargestRatio, description(*node_)));
  return value;
}

double YamlValue::proportion() const {
  const double value = ratio();
  if (value > 1) fail("expected a number between 0 and 1, got " + description(*node_));
  return value;
}

double YamlValue::quantity(QuantityKind kind, bool allow_zero) const {
  if (!is(YamlNode::Kind::Scalar) || node_->text.empty())
    fail(fmt::format("expected {}, got {}", expected_quantity(kind), description(*node_)));
  const ParsedQuantity parsed = parsed_quantity(kind, text(), allow_zero);
  if (!parsed.is_valid()) fail(parsed.problem);
  return parsed.value;
}

std::size_t YamlValue::index_in(const std::vector<std::string_view>& names) const {
  const std::string expected = (names.size() == 1 ? "" : "one of ") + list_of(names);
  if (!is(YamlNode::Kind::Scalar))
    fail(fmt::format("expected {}, got {}", expected, description(*node_)));
  const std::string word = text();
  const auto found = std::find(names.begin(), names.end(), word);
  if (found == names.end())
    fail(fmt::format("expected {}, got {}{}", expected, description(*node_),
                     suggestion(word, names)));
  return std::size_t(found - names.begin());
}

YamlMap::YamlMap(const YamlValue& value) : value_(value) {
  if (!value.is(YamlNode::Kind::Map)) {
    const YamlNode& node = value.node();
    if (value.path().empty() && value.is(YamlNode::Kind::Null))
      throw ConfigError(node.source->name + ": error: the file is empty");
    value.fail("expected a mapping, got " + description(node));
  }
}

std::optional<YamlValue> YamlMap::find(std::string_view key) {
  asked_.emplace(key);
  const YamlNode& node = value_.node();
  for (std::size_t i = 0; i < node.keys.size(); ++i)
    if (node.keys[i].text == key) return YamlValue(node.items[i], joined(value_.path(), key));
  return std::nullopt;
}

bool YamlMap::has(std::string_view key) {
  return find(key).has_value();
}

YamlValue YamlMap::at(std::string_view key) {
  const std::optional<YamlValue> found = find(key);
  if (found) return *found;
  // The usual cause is a misspelled key, which is then among those that nobody has asked for.
  std::vector<std::string_view> unread;
  for (const YamlNode& name : value_.node().keys)
    if (!asked_.contains(name.text)) unread.push_back(name.text);
  const std::string hint =
      unread.empty() ? "" : fmt::format(" (not used so far: {})", list_of(unread));
  fail(fmt::format("missing key '{}'{}", key, hint));
}

void YamlMap::finish() {
  const YamlNode& node = value_.node();
  std::vector<std::string_view> free;
  for (const std::string& key : asked_) {
    const bool is_used = std::any_of(node.keys.begin(), node.keys.end(),
                                     [&](const YamlNode& name) { return name.text == key; });
    if (!is_used) free.push_back(key);
  }
  for (const YamlNode& key : node.keys)
    if (!asked_.contains(key.text))
      YamlValue(key, value_.path())
          .fail(fmt::format("unknown key '{}'{}", shortened(key.text), suggestion(key.text, free)));
}

}  // namespace windtunnel

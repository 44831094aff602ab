#include "config/yaml_file.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <sstream>

namespace windtunnel {
namespace {

constexpr std::size_t kLargestFile = std::size_t{1} << 20;
constexpr std::size_t kDeepest = 32;
constexpr std::size_t kWidestExcerpt = 120;
// Wide enough for token counts and slowdowns, and far from the ends of a double.
constexpr double kLeastRatio = 1e-9, kLargestRatio = 1e18;

// Byte offset -> number of characters before it.
std::size_t characters(std::string_view line) {
  return std::size_t(std::count_if(line.begin(), line.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

// The line, and a caret below `column` (in bytes). A long line is cut around it.
std::string excerpt(std::string_view line, std::size_t column) {
  std::string before = "    ";
  if (line.size() > kWidestExcerpt) {
    std::size_t first = column > kWidestExcerpt / 2 ? column - kWidestExcerpt / 2 : 0;
    const auto inside = [&](std::size_t i) {
      return i < line.size() && (static_cast<unsigned char>(line[i]) & 0xC0) == 0x80;
    };
    while (inside(first)) ++first;
    std::size_t last = std::min(line.size(), first + kWidestExcerpt);
    while (inside(last)) ++last;
    if (first > 0) before += "...";
    column -= first;
    line = line.substr(first, last - first);
  }
  std::string caret(before.size(), ' ');
  for (const char c : line.substr(0, column))
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) caret += c == '\t' ? '\t' : ' ';
  return fmt::format("{}{}\n{}^", before, line, caret);
}

ConfigError error_at(const YamlSource& source, int line, int column, const std::string& message) {
  if (source.lines.empty()) return ConfigError(fmt::format("{}: error: {}", source.name, message));
  // The end of the file has a position behind the last line.
  const std::size_t at = std::min(std::size_t(std::max(line, 0)), source.lines.size() - 1);
  const std::string_view text = source.lines[at];
  const std::size_t byte = std::size_t(line) > at
                               ? text.size()
                               : std::min(std::size_t(std::max(column, 0)), text.size());
  return ConfigError(fmt::format("{}:{}:{}: error: {}\n{}", source.name, at + 1,
                                 characters(text.substr(0, byte)) + 1, message,
                                 excerpt(text, byte)));
}

[[noreturn]] void fail_at(const YamlSource& source, int line, int column,
                          const std::string& message) {
  throw error_at(source, line, column, message);
}

std::string shortened(std::string_view text) {
  if (text.size() <= 60) return std::string(text);
  std::size_t end = 60;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

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

// Events of yaml-cpp -> YamlNode. yaml-cpp's own tree keeps duplicate keys and follows aliases.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const YamlSource& source, YamlNode& root) : source_(source), root_(root) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(mark, "a second document; a file holds one");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add(mark, YamlNode::Kind::Null);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    fail(mark, "aliases (*name) are not supported; write the value again");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    refuse_tag(mark, tag);
    refuse_anchor(mark, anchor);
    YamlNode& node = add(mark, YamlNode::Kind::Scalar);
    node.text = text;
    node.quoted = tag == "!";
    if (!open_.empty() && open_.back()->kind == YamlNode::Kind::Map && is_key(node))
      refuse_duplicate(*open_.back());
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(mark, tag, anchor, YamlNode::Kind::List);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(mark, tag, anchor, YamlNode::Kind::Map);
  }
  void OnMapEnd() override { open_.pop_back(); }

  // After the last event: yaml-cpp also makes keys of nothing before it finds that a bracket is
  // not closed, which is the better message.
  void refuse_bad_key() const {
    if (bad_key_) throw *bad_key_;
  }

 private:
  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& message) const {
    fail_at(source_, mark.line, mark.column, message);
  }
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != 0) fail(mark, "anchors (&name) are not supported");
  }
  // "?" is a plain value without a tag, "!" a quoted one.
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    fail(mark, "tags (!name) are not supported");
  }
  bool is_key(const YamlNode& node) const { return &node == &open_.back()->keys.back(); }

  // The new node is the next key, value or item of the innermost open collection.
  YamlNode& add(const YAML::Mark& mark, YamlNode::Kind kind) {
    YamlNode node;
    node.kind = kind;
    node.source = &source_;
    node.line = mark.line;
    node.column = mark.column;
    if (open_.empty()) return root_ = std::move(node);
    YamlNode& parent = *open_.back();
    if (parent.kind == YamlNode::Kind::Map && parent.keys.size() == parent.items.size()) {
      if (kind != YamlNode::Kind::Scalar && !bad_key_)
        bad_key_ = error_at(source_, mark.line, mark.column, "a key must be plain text");
      return parent.keys.emplace_back(std::move(node));
    }
    // The mark of an absent value is wherever the parser stopped looking for it.
    const bool is_absent = kind == YamlNode::Kind::Null && parent.kind == YamlNode::Kind::Map &&
                           node.line != parent.keys.back().line;
    if (is_absent) {
      node.line = parent.keys.back().line;
      node.column = parent.keys.back().column;
    }
    return parent.items.emplace_back(std::move(node));
  }
  // Pointers stay valid: a parent gets no new child before this one is closed.
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    refuse_tag(mark, tag);
    refuse_anchor(mark, anchor);
    if (open_.size() >= kDeepest) fail(mark, fmt::format("more than {} levels", kDeepest));
    open_.push_back(&add(mark, kind));
    known_[open_.size()].clear();
  }
  void refuse_duplicate(const YamlNode& map) {
    const YamlNode& key = map.keys.back();
    const auto [first, is_new] = known_[open_.size()].try_emplace(key.text, key.line);
    if (is_new) return;
    fail_at(source_, key.line, key.column,
            fmt::format("duplicate key '{}', first in line {}", shortened(key.text),
                        first->second + 1));
  }

  const YamlSource& source_;
  YamlNode& root_;
  std::vector<YamlNode*> open_;
  std::map<std::size_t, std::map<std::string, int>> known_;  // depth -> key -> line
  std::optional<ConfigError> bad_key_;
  int documents_ = 0;
};

// Length of the UTF-8 character that starts the text; 0 if it is not one.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xC2 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // Overlong forms, surrogates and what is above U+10FFFF.
  if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F)) return 0;
  if ((lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F)) return 0;
  return length;
}

void refuse_binary(const YamlSource& source, std::string_view text) {
  const auto refuse = [&](const std::string& what) {
    throw ConfigError(fmt::format("{}: error: {}", source.name, what));
  };
  if (text.size() > kLargestFile) refuse("larger than 1 MiB");
  int line = 1;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text.substr(i));
    if (length == 0) refuse(fmt::format("not UTF-8 text (line {})", line));
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c == '\n') ++line;
    const bool line_end = c == '\n' || (c == '\r' && text.substr(i + 1).starts_with('\n'));
    if ((c < ' ' && c != '\t' && !line_end) || c == 0x7F)
      refuse(fmt::format("not a text file: control character {:#04x} in line {}", c, line));
    i += length;
  }
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (lines.empty()) lines.emplace_back();
  return lines;
}

// yaml-cpp calls it "illegal map value" or takes the line for a part of the one before.
void refuse_tabs(const YamlSource& source) {
  for (std::size_t i = 0; i < source.lines.size(); ++i) {
    const std::string& line = source.lines[i];
    const std::size_t first = line.find_first_not_of(" \t");
    const std::size_t tab = line.find('\t');
    if (first != std::string::npos && tab < first && line[first] != '#')
      fail_at(source, int(i), int(tab), "a tab in the indentation; YAML allows spaces only");
  }
}

void parse(const YamlSource& source, std::string_view text, YamlNode& root) {
  // Without the end marker yaml-cpp accepts a quoted text that is never closed.
  std::istringstream stream(std::string(text) + "\n...\n");
  TreeBuilder builder(source, root);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    builder.refuse_bad_key();
  } catch (const YAML::Exception& exception) {
    const bool open_quote = exception.msg.find("document indicator") != std::string::npos;
    fail_at(source, exception.mark.line, exception.mark.column,
            "not valid YAML: " + (open_quote ? "a quote is not closed" : exception.msg));
  }
  if (root.source == nullptr) root.source = &source;
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

// parallel.tensor -> {parallel, tensor}; empty if it is not such a path.
std::vector<std::string> split_path(std::string_view text) {
  std::vector<std::string> path;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find('.', start), text.size());
    const std::string_view key = text.substr(start, end - start);
    const bool is_key = std::all_of(key.begin(), key.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-';
    });
    if (key.empty() || !is_key || path.size() >= kDeepest) return {};
    path.emplace_back(key);
    start = end + 1;
  }
  return path;
}

// Puts the value at a key or an index of `parent`; an empty value takes away what is there.
void put(YamlNode& parent, std::ptrdiff_t position, const YamlNode& value) {
  YamlNode& old = parent.items[std::size_t(position)];
  if (value.kind == YamlNode::Kind::Null) {
    parent.items.erase(parent.items.begin() + position);
    if (parent.kind == YamlNode::Kind::Map) parent.keys.erase(parent.keys.begin() + position);
    return;
  }
  // Values that wait for the file named here wait for its successor too.
  std::vector<YamlNode::Override> waiting = std::move(old.overrides);
  old = value;
  if (value.kind == YamlNode::Kind::Scalar) old.overrides = std::move(waiting);
}

std::ptrdiff_t index_of(const YamlNode& list, const std::string& index, const YamlNode& value) {
  std::size_t i = 0;
  const auto [end, failure] = std::from_chars(index.data(), index.data() + index.size(), i);
  if (failure != std::errc() || end != index.data() + index.size() || i >= list.items.size())
    fail_at(*value.source, 0, 0,
            fmt::format("'{}' is not one of the {} items of this list, counted from 0", index,
                        list.items.size()));
  return std::ptrdiff_t(i);
}

// The position of a key, which is made if it is missing.
std::ptrdiff_t position_of(YamlNode& map, const std::string& key, const YamlNode& value) {
  for (std::size_t i = 0; i < map.keys.size(); ++i)
    if (map.keys[i].text == key) return std::ptrdiff_t(i);
  YamlNode name;
  name.kind = YamlNode::Kind::Scalar;
  name.text = key;
  name.source = value.source;
  map.keys.push_back(name);
  map.items.emplace_back().source = value.source;
  return std::ptrdiff_t(map.keys.size()) - 1;
}

void apply(YamlNode& root, const std::vector<std::string>& path, const YamlNode& value) {
  YamlNode* at = &root;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (at->kind == YamlNode::Kind::Scalar) {
      at->overrides.push_back({{path.begin() + std::ptrdiff_t(i), path.end()}, value});
      return;
    }
    if (at->kind == YamlNode::Kind::Null) {
      at->kind = YamlNode::Kind::Map;
      at->source = value.source;
    }
    const std::ptrdiff_t position = at->kind == YamlNode::Kind::List
                                        ? index_of(*at, path[i], value)
                                        : position_of(*at, path[i], value);
    if (i + 1 == path.size()) return put(*at, position, value);
    at = &at->items[std::size_t(position)];
  }
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

std::string folder_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
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

YamlFile YamlFile::from_text(std::string_view text, const std::string& name) {
  YamlFile file;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  YamlSource& source = file.sources_.emplace_back();
  source.name = name;
  source.folder = folder_of(name);
  refuse_binary(source, text);
  source.lines = lines_of(text);
  if (!name.ends_with(".json")) refuse_tabs(source);
  parse(source, text, file.root_);
  return file;
}

void YamlFile::set(const std::string& option) {
  YamlSource& source = sources_.emplace_back();
  source.name = "--set " + option;
  const std::size_t equals = std::min(option.find('='), option.size());
  const std::vector<std::string> path = split_path(std::string_view(option).substr(0, equals));
  if (equals == option.size() || path.empty())
    fail_at(source, 0, 0, "expected path=value, as in parallel.tensor=4");
  const std::string_view text = std::string_view(option).substr(equals + 1);
  refuse_binary(source, text);
  YamlNode value;
  parse(source, text, value);
  apply(root_, path, value);
}

void YamlFile::set(const std::vector<YamlNode::Override>& overrides) {
  for (const YamlNode::Override& waiting : overrides) apply(root_, waiting.path, waiting.value);
}

YamlFile YamlFile::open(const std::string& path) {
  const auto refuse = [&](const std::string& what) {
    throw ConfigError(fmt::format("{}: error: {}", path, what));
  };
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status)) refuse("no such file");
  if (std::filesystem::is_directory(status)) refuse("is a folder, not a file");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) refuse("cannot be read");
  // One byte more than allowed is enough to see that there is too much, also of /dev/zero.
  std::string text(kLargestFile + 1, '\0');
  stream.read(text.data(), std::streamsize(text.size()));
  if (stream.bad()) refuse("cannot be read");
  text.resize(std::size_t(stream.gcount()));
  return from_text(text, path);
}

}  // namespace windtunnel

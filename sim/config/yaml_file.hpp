// YAML text as a tree that knows where each of its parts stands, and strict ways to read it.
//
// Stricter than YAML on purpose. Refused: duplicate keys, aliases and anchors (no alias bombs),
// tags, several documents, tabs as indentation, keys that are not plain text, more than 1 MiB or
// 32 levels. A number is decimal (no octal 010, no hexadecimal), a boolean is true or false, and a
// value is of the type that the reader asks for or an error: there are no fallbacks for bad values.
// Any function here may throw ConfigError, and nothing else.
//
// yaml-cpp stays inside yaml_tree.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config_error.hpp"
#include "config/quantity.hpp"

namespace windtunnel {

// Where a text came from. Nodes refer to their source, which must outlive them.
struct YamlSource {
  std::string name;                // the file as the user gave it, or "--set parallel.tensor=4"
  std::string folder;              // relative paths in the text start here
  std::vector<std::string> lines;  // empty for an option, whose name is its text
};

struct YamlNode {
  // A value from the command line for a key below this node, which is still to be loaded from the
  // file that this node names.
  struct Override;

  enum class Kind { Null, Scalar, List, Map };
  Kind kind = Kind::Null;
  std::string text;  // of a scalar
  bool quoted = false;
  const YamlSource* source = nullptr;
  int line = 0, column = 0;     // from 0; the column in bytes
  std::vector<YamlNode> keys;   // of a map: keys[i] belongs to items[i]
  std::vector<YamlNode> items;  // of a list or a map
  std::vector<Override> overrides;
};

struct YamlNode::Override {
  std::vector<std::string> path;
  YamlNode value;
};

class YamlMap;

// A node and its path from the root of its file, as messages show it: "nodes[0].count".
class YamlValue {
 public:
  YamlValue(const YamlNode& node, std::string path) : node_(&node), path_(std::move(path)) {}

  const YamlNode& node() const { return *node_; }
  const std::string& path() const { return path_; }
  bool is(YamlNode::Kind kind) const { return node_->kind == kind; }

  YamlMap map() const;
  std::vector<YamlValue> items() const;  // of a list
  std::string text() const;              // not empty
  bool flag() const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  int count() const;          // an integer from 1
  double ratio() const;       // a positive number without unit
  double proportion() const;  // a number in (0, 1]
  double quantity(QuantityKind kind, bool allow_zero = false) const;
  template <class Enum, std::size_t N>
  Enum one_of(const std::array<std::string_view, N>& names) const {
    return static_cast<Enum>(index_in({names.begin(), names.end()}));
  }
  std::size_t index_in(const std::vector<std::string_view>& names) const;

  // file:line:column: error: path: message, the line and a caret.
  [[noreturn]] void fail(const std::string& message) const;

 private:
  std::string scalar(const std::string& expected) const;  // unquoted

  const YamlNode* node_;
  std::string path_;
};

// One mapping. It remembers what was asked for; finish() refuses what was not.
class YamlMap {
 public:
  explicit YamlMap(const YamlValue& value);

  const YamlValue& value() const { return value_; }
  bool has(std::string_view key);                       // counts as asking for it
  YamlValue at(std::string_view key);                   // an error if it is missing
  std::optional<YamlValue> find(std::string_view key);  // nothing if it is missing
  void finish();                                        // an error for an unknown key
  [[noreturn]] void fail(const std::string& message) const { value_.fail(message); }

 private:
  YamlValue value_;
  std::set<std::string, std::less<>> asked_;
};

class YamlFile {
 public:
  // `path` as the user gave it: messages show it so.
  static YamlFile open(const std::string& path);
  // As if `text` stood in a file of that name.
  static YamlFile from_text(std::string_view text, const std::string& name);

  // Applies "path.to.key=value", the value in YAML. Keys that are missing are made, an empty value
  // takes the key away, a number steps into a list. A path that goes on below the name of another
  // file waits until that file is loaded. Relative file names in the value start at the current
  // directory.
  void set(const std::string& option);
  // What waited at the value that named this file.
  void set(const std::vector<YamlNode::Override>& overrides);

  YamlValue root() const { return {root_, ""}; }

 private:
  std::list<YamlSource> sources_;  // a list: nodes point at its elements, also after a move
  YamlNode root_;
};

// " (did you mean 'pipeline'?)" if one of the names is close to the text, else empty.
std::string suggestion(std::string_view text, const std::vector<std::string_view>& names);

}  // namespace windtunnel

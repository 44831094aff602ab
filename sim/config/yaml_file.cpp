#include "config/yaml_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "config/yaml_text.hpp"

namespace windtunnel {
namespace {

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

std::string folder_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

}  // namespace

YamlFile YamlFile::from_text(std::string_view text, const std::string& name) {
  YamlFile file;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  YamlSource& source = file.sources_.emplace_back();
  source.name = name;
  source.folder = folder_of(name);
  refuse_binary(source, text);
  source.lines = lines_of(text);
  if (!name.ends_with(".json")) refuse_tabs(source);
  file.root_ = parsed(source, text);
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
  apply(root_, path, parsed(source, text));
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

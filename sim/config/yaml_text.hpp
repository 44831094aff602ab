// Private to config/: text before it is a tree, and the form of every message about it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/config_error.hpp"
#include "config/yaml_file.hpp"

namespace windtunnel {

inline constexpr std::size_t kLargestFile = std::size_t{1} << 20;  // bytes
inline constexpr std::size_t kDeepest = 32;                        // levels

// name:line:column: error: message, the line and a caret. `line` and `column` count from 0, the
// column in bytes. An option has neither: its name is its text.
ConfigError error_at(const YamlSource& source, int line, int column, const std::string& message);
[[noreturn]] void fail_at(const YamlSource& source, int line, int column,
                          const std::string& message);
// At most 60 bytes of the user's text, for a message.
std::string shortened(std::string_view text);

// Anything but UTF-8 text of a reasonable size.
void refuse_binary(const YamlSource& source, std::string_view text);
// yaml-cpp calls them "illegal map value" or takes the line for a part of the one before.
void refuse_tabs(const YamlSource& source);
// At least one; without their ends.
std::vector<std::string> lines_of(std::string_view text);

// The text as a tree whose nodes refer to the source.
YamlNode parsed(const YamlSource& source, std::string_view text);

}  // namespace windtunnel

#include "config/yaml_text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace windtunnel {
namespace {

constexpr std::size_t kWidestExcerpt = 120;

// A byte of a UTF-8 character that is not its first.
bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

std::size_t characters(std::string_view line) {
  return line.size() - std::size_t(std::count_if(line.begin(), line.end(), is_continuation));
}

// The line, and a caret below `column` (in bytes). A long line is cut around it.
std::string excerpt(std::string_view line, std::size_t column) {
  std::string before = "    ";
  if (line.size() > kWidestExcerpt) {
    std::size_t first = column > kWidestExcerpt / 2 ? column - kWidestExcerpt / 2 : 0;
    const auto inside = [&](std::size_t i) { return i < line.size() && is_continuation(line[i]); };
    while (inside(first)) ++first;
    std::size_t last = std::min(line.size(), first + kWidestExcerpt);
    while (inside(last)) ++last;
    if (first > 0) before += "...";
    column -= first;
    line = line.substr(first, last - first);
  }
  std::string caret(before.size(), ' ');
  for (const char c : line.substr(0, column))
    if (!is_continuation(c)) caret += c == '\t' ? '\t' : ' ';
  return fmt::format("{}{}\n{}^", before, line, caret);
}

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
    if (!is_continuation(text[i])) return 0;
  // Overlong forms, surrogates and what is above U+10FFFF.
  if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F)) return 0;
  if ((lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F)) return 0;
  return length;
}

}  // namespace

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
  while (end > 0 && is_continuation(text[end])) --end;
  return std::string(text.substr(0, end)) + "...";
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

void refuse_tabs(const YamlSource& source) {
  for (std::size_t i = 0; i < source.lines.size(); ++i) {
    const std::string& line = source.lines[i];
    const std::size_t first = line.find_first_not_of(" \t");
    const std::size_t tab = line.find('\t');
    if (first != std::string::npos && tab < first && line[first] != '#')
      fail_at(source, int(i), int(tab), "a tab in the indentation; YAML allows spaces only");
  }
}

}  // namespace windtunnel

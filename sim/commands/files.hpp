// Whole files in and out.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace windtunnel {

// Nothing if it cannot be read.
std::optional<std::string> content_of(const std::filesystem::path& path);

// Writes under a temporary name and renames, so that a reader sees all of the file or the one
// before. Returns what went wrong as a sentence, or an empty string.
std::string replace_file(const std::filesystem::path& path, std::string_view content);

}  // namespace windtunnel

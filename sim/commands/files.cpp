#include "commands/files.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>

namespace windtunnel {

namespace fs = std::filesystem;

std::optional<std::string> content_of(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) return std::nullopt;
  return content;
}

std::string replace_file(const fs::path& path, std::string_view content) {
  const auto failure = [&](const std::string& reason) {
    return fmt::format("cannot write '{}': {}", path.string(), reason);
  };
  const std::string name = path.filename().string();
  const fs::path temporary = path.parent_path() / fmt::format(".{}.{}.tmp", name, ::getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (!file) return failure(std::generic_category().message(errno));
  int error = 0;
  if (std::fwrite(content.data(), 1, content.size(), file) != content.size()) error = errno;
  // A full disk may show itself only when the last buffer is written.
  if (std::fclose(file) != 0 && error == 0) error = errno;
  std::error_code renaming;
  if (error == 0) fs::rename(temporary, path, renaming);
  if (error == 0 && !renaming) return "";
  std::error_code ignored;
  fs::remove(temporary, ignored);
  return failure(error != 0 ? std::generic_category().message(error) : renaming.message());
}

}  // namespace windtunnel

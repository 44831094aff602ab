// The rows of a sweep as they end, one line each: 16 hexadecimal digits that stand for all that the
// row depends on, a comma, the row. Rows that a killed sweep left are there for the next one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace windtunnel {

class Journal {
 public:
  Journal() = default;
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Makes the file and its folder if they are absent, and drops a last line that was cut off.
  // Returns what went wrong as a sentence, or an empty string. Throws ConfigError if another sweep
  // has the file open.
  std::string open(const std::filesystem::path& path);
  std::optional<std::string> row(std::uint64_t digest) const;
  // In the file when this returns. Returns what went wrong as a sentence, or an empty string.
  std::string append(std::uint64_t digest, const std::string& row);

 private:
  void lock() const;
  std::string read();

  std::filesystem::path path_;
  int file_ = -1;
  std::map<std::uint64_t, std::string> rows_;
};

}  // namespace windtunnel

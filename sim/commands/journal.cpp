#include "commands/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>

#include "config/config_error.hpp"

namespace windtunnel {
namespace {

constexpr std::size_t kDigits = 16;

std::string reason_of(int error) {
  return std::generic_category().message(error);
}

}  // namespace

Journal::~Journal() {
  if (file_ >= 0) ::close(file_);
}

std::string Journal::open(const std::filesystem::path& path) {
  path_ = path;
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error)
    return fmt::format("cannot make the folder '{}': {}", path.parent_path().string(),
                       error.message());
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) return fmt::format("cannot write '{}': {}", path.string(), reason_of(errno));
  lock();
  return read();
}

// A record lock: it ends with this process, and children that outlive it do not hold it. Where the
// file system has none, two sweeps at once are the user's to avoid.
void Journal::lock() const {
  struct flock all {};
  all.l_type = F_WRLCK;
  all.l_whence = SEEK_SET;
  if (::fcntl(file_, F_SETLK, &all) != 0 && (errno == EACCES || errno == EAGAIN))
    throw ConfigError(fmt::format("another sweep is writing '{}'", path_.string()));
}

std::string Journal::read() {
  std::string content;
  char buffer[1 << 16];
  for (ssize_t count = 0; (count = ::read(file_, buffer, sizeof buffer)) > 0;)
    content.append(buffer, std::size_t(count));
  const std::size_t whole = content.rfind('\n') + 1;  // 0 without any line
  if (whole < content.size() && ::ftruncate(file_, off_t(whole)) != 0)
    return fmt::format("cannot write '{}': {}", path_.string(), reason_of(errno));
  for (std::size_t start = 0; start < whole;) {
    const std::size_t end = content.find('\n', start);
    const std::string_view line = std::string_view(content).substr(start, end - start);
    start = end + 1;
    std::uint64_t digest = 0;
    const char* last = line.data() + std::min(kDigits, line.size());
    const auto [stop, error] = std::from_chars(line.data(), last, digest, 16);
    const bool is_row =
        error == std::errc() && stop == last && line.size() > kDigits && line[kDigits] == ',';
    if (is_row) rows_[digest] = line.substr(kDigits + 1);
  }
  return "";
}

std::optional<std::string> Journal::row(std::uint64_t digest) const {
  const auto found = rows_.find(digest);
  return found == rows_.end() ? std::nullopt : std::optional(found->second);
}

std::string Journal::append(std::uint64_t digest, const std::string& row) {
  const std::string line = fmt::format("{:016x},{}\n", digest, row);
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t count = ::write(file_, line.data() + done, line.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fmt::format("cannot write '{}': {}", path_.string(), reason_of(errno));
    done += std::size_t(count);
  }
  return "";
}

}  // namespace windtunnel

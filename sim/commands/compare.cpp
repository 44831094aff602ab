#include "commands/compare.hpp"

namespace windtunnel {
Comparison compare(const std::filesystem::path&, const std::filesystem::path&) {
  return {};
}
}  // namespace windtunnel

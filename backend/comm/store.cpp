#include "backend/comm/store.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "backend/backend_error.hpp"

namespace windtunnel {

StorePointer connected_store(const Place& place, bool host, Milliseconds limit) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(place.port);
  options.isServer = host;
  options.waitWorkers = false;  // it cannot say who is missing
  options.timeout = limit;
#if WINDTUNNEL_TORCH >= 204
  options.useLibUV = false;  // the default, but Debian's LibTorch is built without libuv and throws
#endif
  try {
    return c10::make_intrusive<c10d::PrefixStore>(
        fmt::format("windtunnel/{}", place.attempt),
        c10::make_intrusive<c10d::TCPStore>(place.address, options));
  } catch (const std::exception& error) {
    throw BackendError(fmt::format("rank {} cannot {} the store at {}:{}{}: {}", place.rank,
                                   host ? "open" : "reach", place.address, place.port,
                                   host ? "" : " (has its host, rank 0 or the launcher, come?)",
                                   reason_of(error)));
  }
}

void set_text(c10d::Store& store, const std::string& key, const std::string& text) {
  store.set(key, std::vector<std::uint8_t>(text.begin(), text.end()));
}

std::string text_of(c10d::Store& store, const std::string& key) {
  const std::vector<std::uint8_t> bytes = store.get(key);
  return {bytes.begin(), bytes.end()};
}

bool wait_until(const std::function<bool()>& done, Milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  Milliseconds pause{1};
  while (!done()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, Milliseconds{50});
  }
  return true;
}

std::string reason_of(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = of_torch ? of_torch->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

std::string ranks_text(const std::vector<int>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}

}  // namespace windtunnel

// How ranks of the tests hang and leave while a watchdog looks. Its clock stands still until the
// scene moves it, so that no load of the machine makes a sound rank late.
#pragma once

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "backend/comm/rendezvous.hpp"
#include "backend/comm/store.hpp"
#include "backend/comm/watchdog.hpp"

namespace windtunnel {

class WatchedRank {
 public:
  WatchedRank(const Place& place, const std::string& step)
      : key_("watchdog/" + std::to_string(place.rank)),
        store_(connected_store(place, false, std::chrono::minutes(10))),
        watchdog_(std::in_place, place, times()) {
    watchdog_->doing(step);
  }
  WatchedRank(const WatchedRank&) = delete;
  WatchedRank& operator=(const WatchedRank&) = delete;

  // Until it has reported what this rank does, and then heard all that others had reported when
  // this began. A report begins with its number, and is followed by listening to the others'
  // reports.
  void wait_for_a_round() {
    const long before = reports();
    while (reports() < before + 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  void pass(std::chrono::seconds time) { passed_ += time.count(); }
  void leave() { watchdog_.reset(); }

  static constexpr std::chrono::seconds kLimit{60};

 private:
  WatchdogTimes times() {
    return {.limit = kLimit, .interval = std::chrono::milliseconds(50), .now = [this] {
              return start_ + std::chrono::seconds(passed_);
            }};
  }
  long reports() { return store_->check({key_}) ? std::stol(text_of(*store_, key_)) : -1; }

  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::atomic<long> passed_ = 0;
  const std::string key_;
  const StorePointer store_;
  std::optional<Watchdog> watchdog_;
};

inline bool is_stopped(const std::string& process) {
  std::ifstream file("/proc/" + process + "/stat");
  std::string id, name, state;
  file >> id >> name >> state;
  return state == "T";
}

// One rank stops, as if it hung, while the others wait for it.
inline void stop_one(Rendezvous& rendezvous, int stopped) {
  const Place& place = rendezvous.place();
  std::vector<int> all(static_cast<std::size_t>(place.world));
  std::iota(all.begin(), all.end(), 0);
  const auto group = rendezvous.group("data", all, at::kCPU);
  WatchedRank self(place, place.rank == stopped ? "3F1" : "2B0");
  self.wait_for_a_round();
  if (place.rank == stopped) {
    rendezvous.set("process", std::to_string(getpid()));
    for (const int rank : all)
      if (rank != stopped) rendezvous.get("heard by " + std::to_string(rank));
    raise(SIGSTOP);
  }
  const std::string process = rendezvous.get("process");
  self.wait_for_a_round();
  rendezvous.set("heard by " + std::to_string(place.rank), "");
  while (!is_stopped(process)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (stopped == 0) {
    self.pass(2 * WatchedRank::kLimit);  // the store, which it hosts, is silent
  } else if (place.rank == 0) {
    self.wait_for_a_round();
    self.pass(WatchedRank::kLimit + std::chrono::seconds(1));
  }
  group->barrier();
}

// All end one after the other, and nobody takes that for a loss, however much time passes.
inline void leave_in_turn(Rendezvous& rendezvous, bool host_is_first) {
  const Place& place = rendezvous.place();
  const auto left = [](int turn) { return "left " + std::to_string(turn); };
  const int turn = host_is_first ? place.rank : place.world - 1 - place.rank;
  WatchedRank self(place, "0F0");
  self.wait_for_a_round();
  if (turn > 0) rendezvous.get(left(turn - 1));
  self.wait_for_a_round();
  // All that this rank watches have left: rank 0 watches all, the others watch rank 0.
  if (turn > 0 && (host_is_first || place.rank == 0)) {
    self.pass(WatchedRank::kLimit + std::chrono::seconds(1));
    self.wait_for_a_round();
  }
  self.leave();
  rendezvous.set(left(turn), "");
}

}  // namespace windtunnel

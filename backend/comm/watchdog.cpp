#include "backend/comm/watchdog.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>

#include "backend/backend_error.hpp"
#include "backend/comm/store.hpp"

namespace windtunnel {

namespace {

using Clock = std::chrono::steady_clock;

// A rank's key in the store: "COUNT STEP", and COUNT grows; kFarewell at the end.
const std::string kFarewell = "left";
// Rank 0's judgement, for the others to repeat: each then says who was lost.
const std::string kVerdict = "watchdog/verdict";

std::string key_of(int rank) {
  return fmt::format("watchdog/{}", rank);
}

// What one rank has said, and when it last said something new.
struct Heard {
  std::string text;
  Clock::time_point when;
  bool left() const { return text == kFarewell; }
  std::string step() const {
    const std::size_t space = text.find(' ');
    return space == std::string::npos ? "" : text.substr(space + 1);
  }
};

// Not a return: the main thread may be inside a collective that never ends.
[[noreturn]] void end_process(const std::string& why) {
  const std::string line = "windtunnel: error: " + why + "\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, line.data(), line.size());
  _exit(1);
}

}  // namespace

// One thread talks to the store, which may not answer; the other only looks at the clock. Rank 0
// watches all ranks and the others watch rank 0, so that the store has O(world) to do.
class Watchdog::Threads {
 public:
  Threads(const Place& place, const WatchdogTimes& times)
      : place_(place),
        times_(times),
        store_(connected_store(place, false, times.limit)),
        heard_(place.rank == 0 ? place.world : 1, Heard{"", times.now()}),
        answered_(times.now()) {
    talker_ = std::thread([this] { talk(); });
    guard_ = std::thread([this] { guard(); });
  }

  void stop(bool farewell) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      farewell_ = farewell;
    }
    changed_.notify_all();
    talker_.join();  // the guard still watches over it
    {
      const std::lock_guard lock(mutex_);
      silent_ = true;
    }
    changed_.notify_all();
    guard_.join();
  }

  void doing(const std::string& step) {
    const std::lock_guard lock(mutex_);
    step_ = step;
  }

 private:
  void talk() {
    try {
      for (std::uint64_t count = 0;; ++count) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, times_.interval, [&] { return stopping_; });
        const bool last = stopping_, farewell = farewell_;
        const std::string report =
            last && farewell ? kFarewell : fmt::format("{} {}", count, step_);
        lock.unlock();
        set_text(*store_, key_of(place_.rank), report);
        if (last) return;
        listen();
        lock.lock();
        answered_ = times_.now();
      }
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex_);
      if (heard_[0].left() || stopping_) return;
      end_process(fmt::format("rank {}: the store is gone ({}){}", place_.rank, reason_of(error),
                              about_host()));
    }
  }

  void listen() {
    if (place_.rank != 0 && store_->check({kVerdict}))
      end_process(fmt::format("rank {} ends: {}", place_.rank, text_of(*store_, kVerdict)));
    for (int rank = 0; rank < static_cast<int>(heard_.size()); ++rank) {
      if (rank == place_.rank) continue;
      const std::string text =
          store_->check({key_of(rank)}) ? text_of(*store_, key_of(rank)) : std::string();
      const std::lock_guard lock(mutex_);
      Heard& heard = heard_[rank];
      if (text != heard.text) heard = {text, times_.now()};
      if (!heard.left() && times_.now() - heard.when > times_.limit) accuse(rank, heard);
    }
  }

  [[noreturn]] void accuse(int rank, const Heard& heard) {
    const std::string why = fmt::format("rank {} has not been heard of for {:g} s; {}", rank,
                                        times_.limit.count() / 1000.0, last_step(heard));
    if (place_.rank == 0) {
      set_text(*store_, kVerdict, why);
      std::this_thread::sleep_for(2 * times_.interval);  // the others ask twice in it
    }
    end_process(why);
  }

  static std::string last_step(const Heard& heard) {
    return heard.step().empty() ? "it had not begun a step" : "its last step was " + heard.step();
  }

  std::string about_host() const {
    if (place_.rank == 0) return "";
    return place_.store_is_hosted ? std::string("; the launcher hosts it")
                                  : fmt::format("; rank 0 hosts it, {}", last_step(heard_[0]));
  }

  void guard() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, times_.interval, [&] { return silent_; }))
      if (times_.now() - answered_ > times_.limit * 3 / 2)  // after the talker, which knows more
        end_process(fmt::format("rank {}: the store has not answered for {:g} s{}", place_.rank,
                                times_.limit.count() * 1.5 / 1000.0, about_host()));
  }

  const Place place_;
  const WatchdogTimes times_;
  const StorePointer store_;

  std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::string step_;
  std::vector<Heard> heard_;  // by rank: of all at rank 0, of rank 0 at the others
  Clock::time_point answered_;
  bool stopping_ = false, farewell_ = false, silent_ = false;
  std::thread talker_, guard_;
};

Watchdog::Watchdog(const Place& place, const WatchdogTimes& times)
    : threads_(std::make_unique<Threads>(place, times)) {}

Watchdog::~Watchdog() {
  threads_->stop(std::uncaught_exceptions() == 0);
}

void Watchdog::doing(const std::string& step) {
  threads_->doing(step);
}

}  // namespace windtunnel

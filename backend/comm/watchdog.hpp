// Ends this process when another one of the job has died or hangs: collectives of the others would
// wait for it until their own, much longer limit.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "backend/launch/place.hpp"

namespace windtunnel {

struct WatchdogTimes {
  // 15 s is far above what a busy host delays a thread that has nothing to do but to report.
  std::chrono::milliseconds limit = std::chrono::seconds(15);
  std::chrono::milliseconds interval = limit / 10;  // between the reports of a rank
  // What `limit` is measured by; tests have clocks of their own. Any thread.
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

class Watchdog {
 public:
  // All ranks make theirs right after they have met. Needs the store of a Rendezvous that outlives
  // it, and has a connection of its own. A rank that is silent for the limit, or a store that does
  // not answer for 1.5 times as long, ends this process with exit code 1 and a message that names
  // the rank and its last step, within twice the limit.
  explicit Watchdog(const Place& place, const WatchdogTimes& times = {});
  ~Watchdog();  // says farewell, unless an exception is on its way
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void doing(const std::string& step);  // what this rank does now; any thread

 private:
  class Threads;
  std::unique_ptr<Threads> threads_;
};

}  // namespace windtunnel

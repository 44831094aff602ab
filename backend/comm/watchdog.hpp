// Ends this process when another one of the job has died or hangs: collectives of the others would
// wait for it until their own, much longer limit.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "backend/launch/place.hpp"

namespace windtunnel {

class Watchdog {
 public:
  // All ranks make theirs right after they have met. Needs the store of a Rendezvous that outlives
  // it, and has a connection of its own. A rank that is silent for `limit`, or a store that does
  // not answer for so long, ends this process with exit code 1 and a message that names the rank
  // and its last step, within twice the limit. 15 s is far above what a busy host delays a thread
  // that has nothing to do but to report.
  explicit Watchdog(const Place& place, std::chrono::milliseconds limit = std::chrono::seconds(15));
  ~Watchdog();  // says farewell, unless an exception is on its way
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void doing(const std::string& step);  // what this rank does now; any thread

 private:
  class Threads;
  std::unique_ptr<Threads> threads_;
};

}  // namespace windtunnel

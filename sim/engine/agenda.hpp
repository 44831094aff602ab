// What happens next in simulated time: the timers and flows of a Network, and what happens at once,
// after what is happening.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "base/units.hpp"
#include "engine/network.hpp"

namespace windtunnel {

enum class Event : std::uint8_t {
  Begin,         // of a rank: an op of a stream without order
  CopiesDone,    // of a rank: the copies that came before its compute op
  KernelsDone,   // of a rank, and which of its timers
  Issued,        // of a rank: the collective of its segment
  PartDone,      // of a rank: the collective of its segment, where it is nothing to do
  StepLatency,   // of a channel
  FlowDone,      // of a channel
  SendLatency,   // of a transfer
  TransferDone,  // of a transfer
};

struct Happening {
  Event event = Event::Begin;
  int of = 0;  // simulated rank, channel or transfer
  std::uint32_t which = 0;
};

class Agenda {
 public:
  explicit Agenda(Network& network) : network_(network) {}

  Seconds now() const { return network_.now(); }
  // Without a delay, or without bytes, it happens at once.
  void after(Seconds delay, const Happening& happening);
  void flow(int path, Bytes bytes, Rate limit, const Happening& happening);
  // Runs until nothing is left to happen.
  void run(const std::function<void(const Happening&)>& handle);

 private:
  Network& network_;
  std::deque<Happening> due_;
};

}  // namespace windtunnel

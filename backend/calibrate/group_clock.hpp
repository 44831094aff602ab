// Repetitions of what the members of a group do together, by the clock of the device that they
// communicate from.
#pragma once

#include <functional>
#include <vector>

#include "backend/comm/group.hpp"
#include "backend/execute/device.hpp"

namespace windtunnel {

// All members call the same in the same order, each on a thread that has entered a stream.
class GroupClock {
 public:
  GroupClock(Group& group, Device& device) : group_(group), device_(device) {}

  // Seconds of one call, of runs of four back to back: in a step operations follow one another, and
  // the first of a run finds links and buffers idle.
  std::vector<double> repetitions(const std::function<void()>& call);
  // By repetition the longest of all members' times: all members go on alike.
  std::vector<double> longest(const std::vector<double>& own);

 private:
  double once(const std::function<void()>& call);

  Group& group_;
  Device& device_;
};

}  // namespace windtunnel

// What paths have carried, to the end of the step and over time.
#pragma once

#include <vector>

#include "engine/activity.hpp"
#include "engine/network.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

class Traffic {
 public:
  // `class_share`, by path: bytes on all links of a class per byte of a flow.
  Traffic(const Wiring& wiring, const std::vector<BytesByClass>& class_share);

  void carry(int path, Bytes bytes, Seconds start, Seconds end);
  // The trace's links, by simulated link, and its activity up to its end.
  void write_to(Trace& trace) const;

 private:
  const Wiring& wiring_;
  const std::vector<BytesByClass>& class_share_;
  std::vector<Bytes> carried_;  // by path
  Activity activity_;
};

}  // namespace windtunnel

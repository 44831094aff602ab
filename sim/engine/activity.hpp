// Records what link classes carry over time in a fixed number of bins, whose width doubles whenever
// the simulation outgrows them: memory does not depend on the length or the number of flows.
#pragma once

#include <array>
#include <vector>

#include "base/units.hpp"
#include "cluster/cluster.hpp"

namespace windtunnel {

inline constexpr std::size_t kLinkClasses = kLinkClassNames.size();
using BytesByClass = std::array<double, kLinkClasses>;

class Activity {
 public:
  Activity();
  // `bytes` of each class, spread evenly from start to end.
  void add(Seconds start, Seconds end, const BytesByClass& bytes);

  Seconds bin() const { return width_; }
  // Bins of one class up to the step's end.
  std::vector<Bytes> bins(LinkClass kind, Seconds end) const;

 private:
  void widen();
  Seconds width_;
  std::vector<BytesByClass> bins_;
};

}  // namespace windtunnel

#include "collectives/gloo_model.hpp"

#include <algorithm>
#include <cmath>

namespace windtunnel {

std::int64_t gloo_segments(CollectiveKind kind, int members, Bytes size) {
  constexpr Bytes kLargestSegment{1024.0 * 1024};
  if (kind == CollectiveKind::AllGather) return 2;
  if (kind != CollectiveKind::AllReduce) return 1;
  return std::max<std::int64_t>(2, std::int64_t(std::ceil(size / kLargestSegment / members)));
}

Seconds gloo_phase_latency(int rounds, std::int64_t segments, Seconds message, Seconds segment,
                           Seconds on_links) {
  const Seconds waiting = (message + segment * double(segments - 1)) * rounds;
  return std::max(message, waiting + on_links / double(segments) - on_links);
}

}  // namespace windtunnel

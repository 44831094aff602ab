#include "engine/traffic.hpp"

namespace windtunnel {

Traffic::Traffic(const Wiring& wiring, const std::vector<BytesByClass>& class_share)
    : wiring_(wiring), class_share_(class_share), carried_(wiring.paths.size()) {}

void Traffic::carry(int path, Bytes bytes, Seconds start, Seconds end) {
  carried_[std::size_t(path)] += bytes;
  BytesByClass by_class = class_share_[std::size_t(path)];
  for (double& of_class : by_class) of_class *= bytes.value;
  activity_.add(start, end, by_class);
}

void Traffic::write_to(Trace& trace) const {
  trace.links.resize(wiring_.capacities.size());
  for (std::size_t path = 0; path < carried_.size(); ++path)
    for (const LinkUse& use : wiring_.paths[path])
      trace.links[std::size_t(use.link)].bytes += carried_[path] * use.times;
  trace.activity_bin = activity_.bin();
  for (std::size_t kind = 0; kind < kLinkClasses; ++kind)
    trace.activity.push_back(
        {LinkClass(kind), Rate(0), activity_.bins(LinkClass(kind), trace.end)});
}

}  // namespace windtunnel

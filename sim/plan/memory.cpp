#include "base/check.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

Bytes total(const MemoryByKind& memory) {
  Bytes sum;
  for (const Bytes bytes : memory) sum += bytes;
  return sum;
}

MemoryPeak peak_memory(const Program& program) {
  MemoryByKind now = program.at_start;
  MemoryPeak peak{.at_peak = now};
  const auto apply = [&now](const std::vector<MemoryChange>& changes) {
    for (const MemoryChange& change : changes) now[std::size_t(change.kind)] += Bytes(change.bytes);
  };
  for (int i = 0; i < int(program.ops.size()); ++i) {
    const Op& op = program.ops[std::size_t(i)];
    apply(op.on_start);
    if (total(now) > total(peak.at_peak)) peak = {.at_peak = now, .op = i};
    apply(op.on_end);
  }
  return peak;
}

CollectiveVolume collective_volume(const Program& program, GroupName group, CollectiveKind kind) {
  CollectiveVolume volume;
  for (const Op& op : program.ops) {
    if (op.kind != OpKind::Collective || op.group != group || op.collective != kind) continue;
    volume.bytes += op.bytes;
    ++volume.count;
  }
  return volume;
}

}  // namespace windtunnel

#include "report/memory_course.hpp"

#include <map>

namespace windtunnel {

std::vector<MemoryAt> memory_course(const Program& program, const RankTrace& rank) {
  std::map<Picoseconds, MemoryByKind> changes;
  changes[0];
  const auto collect = [&changes](Seconds time, const std::vector<MemoryChange>& list) {
    for (const MemoryChange& change : list)
      changes[rounded(time)][std::size_t(change.kind)] += Bytes(change.bytes);
  };
  for (const Span& span : rank.spans) {
    const Op& op = program.ops[std::size_t(span.op)];
    collect(span.start, op.on_start);
    collect(span.end, op.on_end);
  }
  std::vector<MemoryAt> course;
  MemoryByKind now = program.at_start;
  for (const auto& [time, by_kind] : changes) {
    for (std::size_t kind = 0; kind < now.size(); ++kind) now[kind] += by_kind[kind];
    course.push_back({time, now});
  }
  return course;
}

}  // namespace windtunnel

// What a rank's memory held over a step, by kind.
#pragma once

#include <vector>

#include "interchange/trace_writer.hpp"
#include "plan/plan.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

struct MemoryAt {
  Picoseconds time = 0;
  MemoryByKind memory{};
};

// At the start and at each moment at which it changes, after all changes of that moment.
std::vector<MemoryAt> memory_course(const Program& program, const RankTrace& rank);

}  // namespace windtunnel

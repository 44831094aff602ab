#include <fmt/format.h>

#include <iterator>

#include "report/format.hpp"
#include "report/report.hpp"

namespace windtunnel {

std::string ranks_csv(const Report& report) {
  std::string out = "rank,represented,stage";
  for (const BreakdownPart& part : kBreakdownParts) out += fmt::format(",{}_s", part.key);
  for (const std::string_view kind : kMemoryKindNames) out += fmt::format(",{}_bytes", kind);
  out += ",memory_bytes,capacity_bytes\n";
  auto put = std::back_inserter(out);
  for (const RankSummary& rank : report.ranks) {
    fmt::format_to(put, "{},{},{}", rank.rank, rank.represented, rank.pipeline);
    // The shortest digits that read back as the same double.
    for (const BreakdownPart& part : kBreakdownParts)
      fmt::format_to(put, ",{}", (rank.time.*part.value).value);
    for (const Bytes bytes : rank.memory) fmt::format_to(put, ",{:.0f}", bytes.value);
    fmt::format_to(put, ",{:.0f},{:.0f}\n", total(rank.memory).value, rank.capacity.value);
  }
  return out;
}

}  // namespace windtunnel

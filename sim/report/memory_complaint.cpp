#include <algorithm>
#include <string>
#include <vector>

#include "report/format.hpp"
#include "report/placement.hpp"
#include "report/report.hpp"

namespace windtunnel {

namespace {

struct StageMemory {
  const Program* program;
  MemoryPeak peak;
  Bytes capacity;
  Bytes over() const { return total(peak.at_peak) - capacity; }
};

std::string gigabytes(Bytes bytes) {
  return fmt::format("{:.2f}", bytes.value / 1e9);
}

std::size_t width_of(std::string_view kind) {
  return std::max<std::size_t>(kind.size(), 8);
}

// One row for each stage, one column for each kind, in GB.
std::string table(const std::vector<StageMemory>& stages) {
  std::string out = "stage";
  for (const std::string_view kind : kMemoryKindNames)
    out += fmt::format(" {:>{}}", kind, width_of(kind));
  out += fmt::format(" {:>8} {:>8} {:>8}\n", "total", "capacity", "over by");
  for (const StageMemory& stage : stages) {
    out += fmt::format("{:>5}", stage.program->pipeline);
    for (std::size_t kind = 0; kind < kMemoryKindNames.size(); ++kind)
      out += fmt::format(" {:>{}}", gigabytes(stage.peak.at_peak[kind]),
                         width_of(kMemoryKindNames[kind]));
    out += fmt::format(" {:>8} {:>8} {:>8}\n", gigabytes(total(stage.peak.at_peak)),
                       gigabytes(stage.capacity),
                       stage.over() > Bytes(0) ? gigabytes(stage.over()) : "-");
  }
  return out;
}

}  // namespace

std::string memory_complaint(const Job& job, const Plan& plan) {
  const std::vector<Bytes> capacity = capacity_by_pipeline(job, plan.grid);
  std::vector<StageMemory> stages;
  for (const Program& program : plan.programs)
    stages.push_back({&program, peak_memory(program), capacity[std::size_t(program.pipeline)]});
  const auto does_not_fit = [](const StageMemory& stage) { return stage.over() > Bytes(0); };
  const auto count = std::count_if(stages.begin(), stages.end(), does_not_fit);
  if (count == 0) return "";
  const StageMemory& worst = *std::max_element(
      stages.begin(), stages.end(),
      [](const StageMemory& a, const StageMemory& b) { return a.over() < b.over(); });
  const std::string moment =
      worst.peak.op < 0 ? "before the step begins"
                        : "during " + op_name(worst.program->ops[std::size_t(worst.peak.op)]);
  return fmt::format(
      "job '{}' does not fit: {} of {} pipeline stages {} have.\n"
      "Stage {} needs {} of {} {}.\n"
      "GB (1e9 bytes) on one GPU at the peak of each stage:\n{}",
      job.name, count, stages.size(),
      count == 1 ? "needs more memory than its GPUs" : "need more memory than their GPUs",
      worst.program->pipeline, readable(total(worst.peak.at_peak).value, "B"),
      readable(worst.capacity.value, "B"), moment, table(stages));
}

}  // namespace windtunnel

// measured.json: written and read again.
#include "catch.hpp"
#include "report/measured_run.hpp"
#include "report_example.hpp"

using namespace windtunnel;

TEST_CASE("a measured run is read as it was written, on CPUs and on GPUs") {
  const Plan plan = example::plan();
  MeasuredRun run;
  run.job = "toy";
  run.machine = "a card";
  run.step_times = {0.5, 0.75};
  for (int rank = 0; rank < plan.grid.size(); ++rank) {
    run.peak_memory.emplace_back(1e9 + rank);
    RankTrace trace{rank, 1, plan.grid.coordinates(rank).pipeline, {}};
    const std::size_t ops = plan.programs[std::size_t(trace.program)].ops.size();
    for (std::size_t op = 0; op < ops; ++op)
      trace.spans.push_back({int(op), Seconds(double(op)), Seconds(double(op) + 1)});
    run.trace.ranks.push_back(trace);
  }
  CHECK(to_json(run).find("reserved") == std::string::npos);
  CHECK(measured_run(to_json(run), plan).peak_reserved.empty());

  for (int rank = 0; rank < plan.grid.size(); ++rank) run.peak_reserved.emplace_back(2e9 + rank);
  const MeasuredRun read = measured_run(to_json(run), plan);
  CHECK(read.peak_memory == run.peak_memory);
  CHECK(read.peak_reserved == run.peak_reserved);
  CHECK(read.machine == run.machine);
  CHECK(read.step_times == run.step_times);
  CHECK(to_json(read) == to_json(run));
}

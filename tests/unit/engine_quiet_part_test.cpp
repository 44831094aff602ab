// Where the quiet part of a step ends, by schedule. That nothing in it runs beside what it excludes
// is in tests/fidelity_test.cpp.
#include "engine/quiet_part.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "jobs.hpp"

namespace windtunnel {

namespace {

// The ops at which the quiet part ends, by program: "none" for -1.
std::vector<std::string> ends(const std::string& schedule, const Parallelism& parallel) {
  Job job =
      job_of(synthetic(4, {.message = 1e6, .activation = 1e6, .parameters = {1e6}}), parallel, 4);
  job.schedule = schedule;
  job.layers_per_stage = split_layers(job.model, job.stages());
  const Plan plan = build_plan(job);
  std::vector<std::string> names;
  const std::vector<int> until = quiet_until(plan);
  for (std::size_t i = 0; i < until.size(); ++i)
    names.push_back(until[i] < 0 ? "none" : op_name(plan.programs[i].ops[std::size_t(until[i])]));
  return names;
}
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("quiet part: up to the last forward pass of every rank") {
  const Parallelism two = {.data = 2, .pipeline = 2};
  CHECK(ends("1f1b", {.data = 2}) == Names{"0F3"});
  CHECK(ends("1f1b", two) == Names{"0F3", "1F3"});
  CHECK(ends("gpipe", two) == Names{"0F3", "1F3"});
  CHECK(ends("zb-h1", two) == Names{"0F3", "1F3"});
  // Of two virtual stages each the later one.
  CHECK(ends("interleaved", {.data = 2, .pipeline = 2, .virtual_stages = 2}) ==
        Names{"2F3", "3F3"});
}

TEST_CASE("quiet part: none where collectives come before the last backward pass") {
  CHECK(ends("1f1b", {.data = 2, .zero_stage = 3}) == Names{"none"});
  CHECK(ends("1f1b", {.data = 2, .pipeline = 2, .zero_stage = 2}) == Names{"none", "none"});
}

}  // namespace windtunnel

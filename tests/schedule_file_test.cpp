// A job whose schedule comes from a file is simulated as the job whose schedule has a name.
#include <filesystem>
#include <string>

#include "catch.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "folder.hpp"
#include "schedules/csv.hpp"

namespace windtunnel {

namespace {

std::string yaml(int chunks, const std::string& schedule) {
  return "model: {family: synthetic, layers: 16, forward: 1 ms, backward_input: 1.5 ms,\n"
         "        backward_weight: 0.75 ms, message: 1 MB, activation: 4 MB, layer_bytes: 4 MB}\n"
         "cluster: " WINDTUNNEL_SOURCE_DIR
         "/topologies/clusters/single-8xh100.yaml\n"
         "gpus: 8\n"
         "parallel: {pipeline: 4, data: 2, virtual_stages: " +
         std::to_string(chunks) +
         "}\n"
         "batch: {global: 16, micro: 1}\n"
         "schedule: " +
         schedule + "\n";
}

double step_time(const Job& job) {
  return simulate(build_plan(job), build_cluster(job.cluster, job.gpus), conditions_of(job))
      .end.value;
}

}  // namespace

TEST_CASE("schedule file: every row of the table, written and read, is the same step") {
  const TemporaryFolder folder("schedule_file");
  int jobs = 0;
  for (const ScheduleFamily& family : schedule_table())
    for (const int chunks : {1, 2}) {
      if (!family.limits(4, 8, chunks).empty()) continue;
      INFO(family.name << ", " << chunks << " chunks");
      const Job named = load_job_text(yaml(chunks, std::string(family.name)), "named.yaml");
      const Plan plan = build_plan(named);
      const std::filesystem::path file = folder.path / (std::string(family.name) + ".csv");
      write_text(file, to_csv(plan.schedule));
      // The file is named relative to the job.
      const Job read = load_job_text(yaml(chunks, "{file: " + file.filename().string() + "}"),
                                     (folder.path / "job.yaml").string());
      CHECK(read.schedule == file.filename().string());
      CHECK(to_text(build_plan(read)) == to_text(plan));
      CHECK(step_time(read) == Approx(step_time(named)).epsilon(1e-12));
      ++jobs;
    }
  CHECK(jobs >= int(schedule_table().size()));
}

TEST_CASE("schedule file: an override names it relative to the current directory") {
  const TemporaryFolder folder("schedule_file");
  const std::string path = (folder.path / "own.csv").string();
  const Job named = load_job_text(yaml(1, "gpipe"), "named.yaml");
  write_text(path, to_csv(build_plan(named).schedule));
  const Job read = load_job_text(yaml(1, "1f1b"), "job.yaml", {"schedule={file: " + path + "}"});
  CHECK(step_time(read) == Approx(step_time(named)).epsilon(1e-12));
}

}  // namespace windtunnel

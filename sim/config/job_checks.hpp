// Private to config/: what the values of a job must satisfy together.
#pragma once

#include "config/yaml_file.hpp"
#include "plan/job.hpp"

namespace windtunnel {

// Fails at the value that is most likely wrong. Fills in `layers_per_stage` if the file leaves it
// out.
void check_job(const YamlMap& map, Job& job);
// The same of a job whose step is recorded, which has no layout, batch or schedule.
void check_recorded_job(const YamlMap& map, const Job& job);

}  // namespace windtunnel

// The compute-only pass: a job's own step on one rank, with nobody to talk to.
#pragma once

#include <memory>
#include <vector>

#include "backend/calibrate/progress.hpp"
#include "backend/execute/device.hpp"
#include "plan/job.hpp"

namespace windtunnel {

struct ComputeTimes {
  std::vector<LayerTime> layers;
  std::vector<OptimizerTime> optimizers;
  std::vector<std::string> noise;  // what was refused, and why
};

// Runs every program of every job's plan as `run` does, layer by layer in the step's working set,
// with groups that move nothing between processes, on this device and by its clock. What several
// jobs have alike is of the first of them.
ComputeTimes measure_layers(const std::vector<Job>& jobs, const std::shared_ptr<Device>& device,
                            Progress& progress);

}  // namespace windtunnel

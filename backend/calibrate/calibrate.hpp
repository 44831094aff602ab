// Measures the machine or cluster on which it runs and writes down what simulations need of it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backend/comm/rendezvous.hpp"
#include "plan/job.hpp"

namespace windtunnel {

// Whether compute is measured: for jobs that compute, and where there is no job.
bool computes(const std::vector<Job>& jobs);

struct Calibration {
  Profile profile;
  std::vector<std::string> noise;  // figures that were refused, and why; empty: all are sound
};

// Called by all processes; the result comes to rank 0, nothing to the others. `doing` is told what
// the process is at. Jobs need a place on one process only: their compute is measured without
// communication, on every process at once. Where the jobs' ranks are GPUs, these are measured, and
// communication between them over NCCL. Requires jobs of one kind of GPU, if any. Throws
// BackendError.
//
// `ranks_per_node`: of the topology that is measured. Of jobs with emulated compute only the
// communication is measured, because the rest of them is the topology's.
std::optional<Calibration> calibrate(const std::vector<Job>& jobs, Rendezvous& rendezvous,
                                     int ranks_per_node,
                                     const std::function<void(const std::string&)>& doing);

// Looks for a second at what others do on this machine before anything runs; why it is not quiet,
// or empty.
std::string noise_of_machine();

// At most `most` of the complaints, a line each, and how many there are more.
std::string complaints_text(const std::vector<std::string>& complaints, std::size_t most);

}  // namespace windtunnel

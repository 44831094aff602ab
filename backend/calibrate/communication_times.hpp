// The communication-only pass: collectives and messages of the processes that are there, back to
// back, at the sizes that jobs use and a grid of others.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "backend/calibrate/progress.hpp"
#include "backend/comm/rendezvous.hpp"
#include "plan/job.hpp"

namespace windtunnel {

struct CommunicationTimes {
  std::vector<CollectiveTime> collectives;
  std::vector<MessageTime> messages;
  std::optional<double> cpu_seconds_per_byte;
  std::vector<std::string> noise;  // what was refused, and why
};

// Called by all processes; all get the same times. Groups are the first 2, 4, ... processes and
// all of them.
CommunicationTimes measure_communication(const std::vector<Job>& jobs, Rendezvous& rendezvous,
                                         Progress& progress);

// Tasks of the above, as the progress counts them.
double communication_tasks(const std::vector<Job>& jobs, int world);

}  // namespace windtunnel

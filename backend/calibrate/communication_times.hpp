// The communication-only pass: collectives and messages of the processes that are there, back to
// back, at the sizes that jobs use and a grid of others.
#pragma once

#include <string>
#include <vector>

#include "backend/calibrate/progress.hpp"
#include "backend/comm/rendezvous.hpp"
#include "backend/execute/device.hpp"
#include "backend/execute/rank_groups.hpp"
#include "plan/job.hpp"

namespace windtunnel {

struct CommunicationTimes {
  std::vector<CollectiveTime> collectives;
  std::vector<MessageTime> messages;
  std::vector<std::string> noise;  // what was refused, and why
};

// Called by all processes, each with its device, on which the groups that it makes communicate: by
// that device's clock, events on a stream of a GPU. All get the same times. `place.local_world`:
// ranks of a node.
CommunicationTimes measure_communication(const std::vector<Job>& jobs, const Place& place,
                                         const RankGroups::Maker& make_group, Device& device,
                                         Progress& progress);

// Tasks of the above, as the progress counts them.
double communication_tasks(const std::vector<Job>& jobs, int world);

}  // namespace windtunnel

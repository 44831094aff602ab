// The executor: runs one rank's program as its streams and dependencies say.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/execute/device.hpp"
#include "backend/execute/rank_work.hpp"

namespace windtunnel {

struct OpTime {
  double begin = 0, end = 0;  // seconds on the device's clock
  ComputeParts parts;
};

// Runs the program once, a thread for each stream, and returns the times of its ops. Receives are
// posted as soon as the one before them from the same sender has come, whoever waits for them. On
// an error it throws the first one at once and leaves the other threads behind: the process must
// end then. `doing` is told the name of each op that begins.
std::vector<OpTime> run_step(const Program& program, const std::shared_ptr<RankWork>& work,
                             const std::shared_ptr<Device>& device,
                             const std::function<void(const std::string&)>& doing = {});

}  // namespace windtunnel

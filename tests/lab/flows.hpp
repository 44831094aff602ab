// TCP flows between hosts of a lab, by plain sockets.
#pragma once

#include <vector>

#include "backend/lab/lab.hpp"

namespace windtunnel {

struct Flow {
  int from = 0, to = 0;  // hosts
};

// Bytes of payload per second that each flow delivers while all of them run, after the bursts of
// the shapers are used up. Fails the test where a flow does not run.
std::vector<double> goodputs(const Lab& lab, const std::vector<Flow>& flows);

}  // namespace windtunnel

// A lab as people read it.
#pragma once

#include <string>

#include "backend/lab/lab.hpp"

namespace windtunnel {

// Hosts with their ranks and rates, cables between switches.
std::string to_text(const Lab& lab);

std::string to_text(const LabDrops& drops);

}  // namespace windtunnel

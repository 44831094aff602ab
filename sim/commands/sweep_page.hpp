// sweep.html: a sweep as a page that needs nothing beside it.
#pragma once

#include <string>

#include "commands/sweep_points.hpp"

namespace windtunnel {

// Scaling with its ideal line, every result against what was varied, a heat map where two keys
// vary, and the table of all cases. Whatever a user's file says is shown as text.
std::string sweep_page(const std::string& title, const SweepPoints& sweep);

}  // namespace windtunnel

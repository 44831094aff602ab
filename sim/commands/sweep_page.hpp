// sweep.html: the table of a sweep as a page that needs nothing beside it.
#pragma once

#include <string>

#include "commands/sweep_table.hpp"

namespace windtunnel {

// Shares are drawn as bars behind their numbers. Whatever a user's file says is escaped.
std::string sweep_page(const std::string& title, const SweepTable& table);

}  // namespace windtunnel

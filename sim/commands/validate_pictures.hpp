// Predicted against published, as SVG.
#pragma once

#include <string>

#include "commands/validate_run.hpp"

namespace windtunnel {

// Seconds on two logarithmic axes, one colour a table.
std::string scatter_svg(const Validation& validation);
// How many rows have which relative error.
std::string histogram_svg(const Validation& validation);

}  // namespace windtunnel

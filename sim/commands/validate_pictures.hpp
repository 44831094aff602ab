// Predicted against published, as pictures.
#pragma once

#include "commands/validate_run.hpp"
#include "pictures/picture.hpp"

namespace windtunnel {

// Seconds on two logarithmic axes, one colour a table.
Picture scatter_picture(const Validation& validation);
// How many rows have which relative error.
Picture histogram_picture(const Validation& validation);

}  // namespace windtunnel

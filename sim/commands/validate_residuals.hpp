// Where the errors of a validation are: the rows of a table by what their runs were.
#pragma once

#include <string>

#include "commands/validate_run.hpp"

namespace windtunnel {

// Markdown: a line for each class of at least eight rows of one table that are alike in card,
// number format, family and parallelism, the largest of a table first; empty without one.
std::string residuals_markdown(const Validation& validation, const Rules& rules);

}  // namespace windtunnel

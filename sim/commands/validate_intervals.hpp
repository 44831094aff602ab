// The rows of a validation by class of run: what validation/intervals.json says of them.
#pragma once

#include <span>
#include <vector>

#include "commands/validate_run.hpp"
#include "report/run_classes.hpp"

namespace windtunnel {

struct PublishedRun {
  RunTraits traits;
  double ratio = 1;  // published / predicted step time
};

// The rows with a predicted and a published time.
std::vector<PublishedRun> published_runs(const Validation& validation, const Rules& rules);

// One class for each card and kind of parallelism, for each card, and for all runs, in this order
// and by name. Ratios to four decimals.
std::vector<RunClass> run_classes(std::span<const PublishedRun> runs);

}  // namespace windtunnel

// Pipeline schedules as CSV, as PyTorch reads and writes them: one line for each rank, one cell for
// each action ("2F0"), an empty cell where the rank idles.
//
// Source: the "compute_only" format of _load_csv and _dump_csv in
// torch/distributed/pipelining/schedules.py, which uses Python's csv module: cells may be quoted
// and lines may end in CR LF. Idle cells order nothing, so they are not kept.
#pragma once

#include <string>
#include <string_view>

#include "schedules/schedule.hpp"

namespace windtunnel {

std::string to_csv(const Schedule& schedule);

// What a job needs of its schedule.
struct ScheduleShape {
  int devices = 1;
  int chunks = 1;  // stages of a device
  int micro_batches = 1;
};

struct ParsedSchedule {
  Schedule schedule;         // valid if there is no problem
  std::string problem;       // why it is none for this shape
  int line = 0, column = 0;  // where, from 0; the column in bytes
};

// A stage is on the device in whose line it stands.
ParsedSchedule parsed_schedule(std::string_view csv, const ScheduleShape& shape);

}  // namespace windtunnel

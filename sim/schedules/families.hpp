// The functions behind the rows of schedule_table(), one file per schedule. To add a schedule,
// write its file, declare it here and add its row in table.cpp; the tests loop over the table.
//
// p = devices (pipeline ranks), m = micro-batches, v = model chunks per device; r = rank of a
// device. A generator may assume what its limits say, and p, m, v >= 1.
#pragma once

#include <string>
#include <vector>

#include "schedules/schedule.hpp"

namespace windtunnel {

// No actions yet; stage = chunk * p + rank, so that the chunks of a device are p stages apart.
Schedule empty_looped_schedule(int p, int m, int v);

// As ScheduleFamily::limits. `one_chunk_limits` is that of each schedule without chunks.
std::string one_chunk_limits(int p, int m, int v);
std::string interleaved_limits(int p, int m, int v);
std::string looped_bfs_limits(int p, int m, int v);
std::string zb_v_limits(int p, int m, int v);

// As ScheduleFamily::make.
Schedule naive_schedule(int p, int m, int v);
Schedule gpipe_schedule(int p, int m, int v);
Schedule one_f_one_b_schedule(int p, int m, int v);
Schedule interleaved_schedule(int p, int m, int v);
Schedule looped_bfs_schedule(int p, int m, int v);
Schedule zb_h1_schedule(int p, int m, int v);
Schedule zb_h2_schedule(int p, int m, int v);
Schedule zb_v_schedule(int p, int m, int v);

}  // namespace windtunnel

// The rows of the `schedule:` key, and what the files of several rows share.
#include <array>
#include <string>

#include "schedules/families.hpp"

namespace windtunnel {
namespace {

constexpr std::array<ScheduleFamily, 8> kSchedules = {{
    {"naive", naive_schedule, one_chunk_limits, false,
     "Huang et al. 2018, arXiv:1811.06965, figure 2(b)"},
    {"gpipe", gpipe_schedule, one_chunk_limits, false, "Huang et al. 2018, arXiv:1811.06965"},
    {"1f1b", one_f_one_b_schedule, one_chunk_limits, false,
     "Narayanan et al. 2020, arXiv:2006.09503; Megatron-LM core/pipeline_parallel/schedules.py"},
    {"interleaved", interleaved_schedule, interleaved_limits, false,
     "Narayanan et al. 2021, arXiv:2104.04473; Megatron-LM core/pipeline_parallel/schedules.py"},
    {"looped-bfs", looped_bfs_schedule, looped_bfs_limits, false,
     "Lamy-Poirier 2022, arXiv:2211.05953; PyTorch ScheduleLoopedBFS"},
    {"zb-h1", zb_h1_schedule, one_chunk_limits, true,
     "Qi et al. 2023, arXiv:2401.10241; PyTorch ScheduleInterleavedZeroBubble"},
    {"zb-h2", zb_h2_schedule, one_chunk_limits, true, "Qi et al. 2023, arXiv:2401.10241"},
    {"zb-v", zb_v_schedule, zb_v_limits, true,
     "Qi et al. 2024, arXiv:2405.15362; PyTorch ScheduleZBVZeroBubble"},
}};

}  // namespace

std::span<const ScheduleFamily> schedule_table() {
  return kSchedules;
}

const ScheduleFamily* find_schedule(std::string_view name) {
  for (const ScheduleFamily& family : kSchedules)
    if (family.name == name) return &family;
  return nullptr;
}

std::string one_chunk_limits(int /*p*/, int /*m*/, int v) {
  return v == 1 ? "" : "it needs 1 chunk per device (virtual_stages), not " + std::to_string(v);
}

Schedule empty_looped_schedule(int p, int m, int v) {
  Schedule schedule{.devices = p, .micro_batches = m, .device_of_stage = {}, .actions = {}};
  for (int stage = 0; stage < p * v; ++stage) schedule.device_of_stage.push_back(stage % p);
  schedule.actions.resize(p);
  return schedule;
}

}  // namespace windtunnel

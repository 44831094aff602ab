// Pipeline schedules as data: for each pipeline rank, the order of its actions on (stage,
// micro-batch).
//
// p = pipeline ranks ("devices"), m = micro-batches, v = model chunks per device, stages = p * v.
// A stage is a *virtual* stage: stage s feeds stage s + 1. `device_of_stage` places stages on
// devices. A device runs its list strictly in order. F(s, i) needs F(s-1, i); B(s, i) or I(s, i)
// needs F(s, i) and the gradient from stage s + 1; W(s, i) needs I(s, i). B = I + W. A schedule
// contains no time. Text form as in PyTorch's pipelining CSV files: "2F0" is stage 2, forward,
// micro-batch 0 (torch/distributed/pipelining/schedules.py).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace windtunnel {

enum class ActionType { F, B, I, W };  // forward, full backward, input gradient, weight gradient

struct Action {
  ActionType type = ActionType::F;
  int stage = 0;
  int micro_batch = 0;
  bool operator==(const Action&) const = default;
};

struct Schedule {
  int devices = 0;
  int micro_batches = 0;
  std::vector<int> device_of_stage;          // by stage
  std::vector<std::vector<Action>> actions;  // by device, in the order of execution
  int stages() const { return int(device_of_stage.size()); }
};

// One row of the table: a name of the `schedule:` key and how to make it.
struct ScheduleFamily {
  std::string_view name;
  // Requires limits() empty for the same arguments.
  Schedule (*make)(int devices, int micro_batches, int chunks);
  // Why (p, m, v) is not possible with this schedule, as the end of a sentence; empty if it is.
  std::string (*limits)(int devices, int micro_batches, int chunks);
  bool splits_backward;  // uses I and W in place of B
  std::string_view source;
};

std::span<const ScheduleFamily> schedule_table();
const ScheduleFamily* find_schedule(std::string_view name);  // null if there is none

std::string to_text(const Action& action);      // "2F0"
std::string to_text(const Schedule& schedule);  // one line per device, "0F0 0F1 0B0 ..."

// What is wrong with a schedule, and where: the index of an action in a device's list.
struct ScheduleProblem {
  std::string text;              // empty: nothing
  int device = -1, action = -1;  // -1: of no single device, or of no single action
};
// Nothing if every (stage, micro-batch) has one F and one B (or one I and one W after it) on its
// own device and the lists can be run to the end without deadlock.
ScheduleProblem find_problem(const Schedule& schedule);
std::string check_schedule(const Schedule& schedule);  // the text of find_problem

// Largest number of stored activations (of one stage) per device in program order. An activation
// lives from its F to its B, or to its W (`freed_at_weight_gradient`) or else to its I.
std::vector<int> peak_activations(const Schedule& schedule, bool freed_at_weight_gradient = true);

// (activation, gradient) messages that leave each device for another one.
std::vector<std::pair<int, int>> message_counts(const Schedule& schedule);

}  // namespace windtunnel

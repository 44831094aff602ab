// An oracle for tests: runs a schedule as soon as possible, knowing nothing but its lists.
// A device runs its list in order, one action at a time; an action starts when its inputs are
// there. An input from another device arrives `latency` after its producer ended; transfers never
// wait for each other and take no time of a device. Times are doubles in any unit: with integers
// and binary fractions every result is exact.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <numeric>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "schedules/schedule.hpp"

namespace windtunnel {

struct AsapRun {
  std::vector<std::vector<double>> start, end;  // by device and place in its list
  std::vector<double> span;                     // by device: its last end minus its first start
  std::vector<double> busy;                     // by device: sum of its durations
  double makespan = 0;

  double largest_span() const { return *std::max_element(span.begin(), span.end()); }
  // Idle share of all devices between time 0 and the makespan.
  double bubble_fraction() const {
    return 1 - std::accumulate(busy.begin(), busy.end(), 0.0) / (makespan * double(busy.size()));
  }
};

// The durations of each stage of a uniform pipeline; a full backward takes both halves.
struct StageTimes {
  double forward = 1, backward_input = 1, backward_weight = 1;
  double operator()(const Action& action) const {
    switch (action.type) {
      case ActionType::F:
        return forward;
      case ActionType::I:
        return backward_input;
      case ActionType::W:
        return backward_weight;
      default:
        return backward_input + backward_weight;
    }
  }
};

// What exists so far: the output of each action, named by the action. The gradient that a B or an I
// produces is named by the I.
class AsapOutputs {
 public:
  void insert(Action action, int device, double time) {
    if (action.type == ActionType::B) action.type = ActionType::I;
    outputs_[{action.type, action.stage, action.micro_batch}] = {device, time};
  }
  // When the inputs of `action` are on `device`; negative if one does not exist yet.
  double arrival(const Action& action, int stages, int device, double latency) const {
    std::vector<Action> inputs;
    const auto& [type, stage, i] = action;
    if (type == ActionType::F && stage > 0) inputs.push_back({ActionType::F, stage - 1, i});
    if (type == ActionType::W) inputs.push_back({ActionType::I, stage, i});
    if (type == ActionType::B || type == ActionType::I) {
      inputs.push_back({ActionType::F, stage, i});
      if (stage + 1 < stages) inputs.push_back({ActionType::I, stage + 1, i});
    }
    double time = 0;
    for (const Action& input : inputs) {
      const auto found = outputs_.find({input.type, input.stage, input.micro_batch});
      if (found == outputs_.end()) return -1;
      time = std::max(time, found->second.time + (found->second.device == device ? 0 : latency));
    }
    return time;
  }

 private:
  struct Output {
    int device = 0;
    double time = 0;
  };
  std::map<std::tuple<ActionType, int, int>, Output> outputs_;
};

// Throws std::runtime_error on a deadlock.
inline AsapRun asap_run(const Schedule& schedule,
                        const std::function<double(const Action&)>& duration, double latency = 0) {
  const std::size_t devices = schedule.actions.size();
  AsapRun run{.start = std::vector<std::vector<double>>(devices),
              .end = std::vector<std::vector<double>>(devices),
              .span = std::vector<double>(devices),
              .busy = std::vector<double>(devices),
              .makespan = 0};
  AsapOutputs outputs;
  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t device = 0; device < devices; ++device) {
      std::vector<double>& ends = run.end[device];
      while (ends.size() < schedule.actions[device].size()) {
        const Action& action = schedule.actions[device][ends.size()];
        const double arrival = outputs.arrival(action, schedule.stages(), int(device), latency);
        if (arrival < 0) break;
        const double start = std::max(arrival, ends.empty() ? 0 : ends.back());
        run.start[device].push_back(start);
        ends.push_back(start + duration(action));
        run.busy[device] += duration(action);
        outputs.insert(action, int(device), ends.back());
        progress = true;
      }
    }
  }
  for (std::size_t device = 0; device < devices; ++device) {
    if (run.end[device].size() < schedule.actions[device].size())
      throw std::runtime_error("deadlock");
    if (run.end[device].empty()) continue;
    run.span[device] = run.end[device].back() - run.start[device].front();
    run.makespan = std::max(run.makespan, run.end[device].back());
  }
  return run;
}

}  // namespace windtunnel

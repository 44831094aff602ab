// What can be said about any schedule, whoever made it.
#include "schedules/schedule.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace windtunnel {
namespace {

constexpr std::string_view kTypeLetters = "FBIW";  // by ActionType

// A set of actions with all stages and micro-batches in range.
class ActionSet {
 public:
  explicit ActionSet(const Schedule& schedule)
      : micro_batches_(schedule.micro_batches),
        present_(std::size_t(schedule.stages()) * schedule.micro_batches * kTypeLetters.size()) {}

  bool contains(const Action& action) const { return present_[index(action)]; }
  bool contains(ActionType type, int stage, int i) const { return contains({type, stage, i}); }
  // The gradient that stage `stage` sends to the stage before it.
  bool has_gradient(int stage, int i) const {
    return contains(ActionType::B, stage, i) || contains(ActionType::I, stage, i);
  }
  void insert(const Action& action) { present_[index(action)] = true; }

 private:
  std::size_t index(const Action& action) const {
    return (std::size_t(action.stage) * micro_batches_ + action.micro_batch) * kTypeLetters.size() +
           std::size_t(action.type);
  }
  int micro_batches_;
  std::vector<bool> present_;
};

std::string shape_error(const Schedule& schedule) {
  if (schedule.devices < 1 || schedule.micro_batches < 1 || schedule.stages() < 1)
    return "a schedule needs devices, stages and micro-batches";
  if (int(schedule.actions.size()) != schedule.devices)
    return "there are " + std::to_string(schedule.actions.size()) + " lists for " +
           std::to_string(schedule.devices) + " devices";
  for (int stage = 0; stage < schedule.stages(); ++stage)
    if (const int device = schedule.device_of_stage[stage];
        device < 0 || device >= schedule.devices)
      return "stage " + std::to_string(stage) + " is on device " + std::to_string(device) +
             ", which does not exist";
  return "";
}

// Errors of single actions; fills `listed`.
ScheduleProblem action_error(const Schedule& schedule, ActionSet& listed) {
  for (int device = 0; device < schedule.devices; ++device)
    for (int i = 0; i < int(schedule.actions[device].size()); ++i) {
      const Action& action = schedule.actions[device][i];
      const auto wrong = [&](const std::string& why) {
        return ScheduleProblem{to_text(action) + why, device, i};
      };
      if (action.stage < 0 || action.stage >= schedule.stages() || action.micro_batch < 0 ||
          action.micro_batch >= schedule.micro_batches)
        return wrong(" has no such stage or micro-batch");
      if (const int owner = schedule.device_of_stage[action.stage]; owner != device)
        return wrong(" is in the list of device " + std::to_string(device) +
                     ", but its stage is on device " + std::to_string(owner));
      if (listed.contains(action)) return wrong(" is listed twice");
      listed.insert(action);
    }
  return {};
}

ScheduleProblem missing_error(const Schedule& schedule, const ActionSet& listed) {
  for (int stage = 0; stage < schedule.stages(); ++stage)
    for (int i = 0; i < schedule.micro_batches; ++i) {
      const auto missing = [&](ActionType type) { return !listed.contains(type, stage, i); };
      const auto text = [&](ActionType type) { return to_text(Action{type, stage, i}); };
      const auto wrong = [&](const std::string& why) {
        return ScheduleProblem{why, schedule.device_of_stage[stage], -1};
      };
      if (missing(ActionType::F)) return wrong(text(ActionType::F) + " is missing");
      if (!missing(ActionType::B)) {
        for (const ActionType half : {ActionType::I, ActionType::W})
          if (!missing(half))
            return wrong(text(half) + " repeats a part of " + text(ActionType::B));
      } else if (missing(ActionType::I) && missing(ActionType::W)) {
        return wrong(text(ActionType::B) + " is missing");
      } else {
        for (const ActionType half : {ActionType::I, ActionType::W})
          if (missing(half)) return wrong(text(half) + " is missing");
      }
    }
  return {};
}

bool is_ready(const Schedule& schedule, const ActionSet& done, const Action& action) {
  const auto& [type, stage, i] = action;
  switch (type) {
    case ActionType::F:
      return stage == 0 || done.contains(ActionType::F, stage - 1, i);
    case ActionType::W:
      return done.contains(ActionType::I, stage, i);
    default:
      return done.contains(ActionType::F, stage, i) &&
             (stage + 1 == schedule.stages() || done.has_gradient(stage + 1, i));
  }
}

// Runs the lists; only a device that got a new input is looked at again, so that the work is linear
// in the number of actions.
ScheduleProblem deadlock_error(const Schedule& schedule) {
  ActionSet done(schedule);
  std::vector<std::size_t> next(schedule.devices, 0);
  std::vector<int> to_visit;
  for (int device = schedule.devices; device-- > 0;) to_visit.push_back(device);
  while (!to_visit.empty()) {
    const int device = to_visit.back();
    to_visit.pop_back();
    const std::vector<Action>& list = schedule.actions[device];
    for (; next[device] < list.size() && is_ready(schedule, done, list[next[device]]);
         ++next[device]) {
      const Action& action = list[next[device]];
      done.insert(action);
      const int receiver = action.type == ActionType::F   ? action.stage + 1
                           : action.type == ActionType::W ? -1
                                                          : action.stage - 1;
      if (receiver >= 0 && receiver < schedule.stages())
        to_visit.push_back(schedule.device_of_stage[receiver]);
    }
  }
  ScheduleProblem waiting;
  for (int device = 0; device < schedule.devices; ++device) {
    if (next[device] == schedule.actions[device].size()) continue;
    if (waiting.text.empty()) waiting = {"deadlock:", device, int(next[device])};
    waiting.text += (waiting.device == device ? " device " : ", device ") + std::to_string(device) +
                    " waits at " + to_text(schedule.actions[device][next[device]]);
  }
  return waiting;
}

}  // namespace

std::string to_text(const Action& action) {
  return std::to_string(action.stage) + kTypeLetters[std::size_t(action.type)] +
         std::to_string(action.micro_batch);
}

std::string to_text(const Schedule& schedule) {
  std::string text;
  for (const std::vector<Action>& list : schedule.actions) {
    std::string_view separator;
    for (const Action& action : list) {
      text.append(separator).append(to_text(action));
      separator = " ";
    }
    text += '\n';
  }
  return text;
}

ScheduleProblem find_problem(const Schedule& schedule) {
  if (std::string error = shape_error(schedule); !error.empty()) return {std::move(error)};
  ActionSet listed(schedule);
  if (ScheduleProblem problem = action_error(schedule, listed); !problem.text.empty())
    return problem;
  if (ScheduleProblem problem = missing_error(schedule, listed); !problem.text.empty())
    return problem;
  return deadlock_error(schedule);
}

std::string check_schedule(const Schedule& schedule) {
  return find_problem(schedule).text;
}

std::vector<int> peak_activations(const Schedule& schedule, bool freed_at_weight_gradient) {
  const ActionType freeing_half = freed_at_weight_gradient ? ActionType::W : ActionType::I;
  std::vector<int> peaks;
  for (const std::vector<Action>& list : schedule.actions) {
    int stored = 0, peak = 0;
    for (const Action& action : list) {
      if (action.type == ActionType::F) peak = std::max(peak, ++stored);
      if (action.type == ActionType::B || action.type == freeing_half) --stored;
    }
    peaks.push_back(peak);
  }
  return peaks;
}

std::vector<std::pair<int, int>> message_counts(const Schedule& schedule) {
  std::vector<std::pair<int, int>> counts(schedule.devices);
  const auto leaves_device = [&](int device, int receiving_stage) {
    return receiving_stage >= 0 && receiving_stage < schedule.stages() &&
           schedule.device_of_stage[receiving_stage] != device;
  };
  for (int device = 0; device < schedule.devices; ++device)
    for (const Action& action : schedule.actions[device]) {
      if (action.type == ActionType::F)
        counts[device].first += leaves_device(device, action.stage + 1);
      else if (action.type != ActionType::W)
        counts[device].second += leaves_device(device, action.stage - 1);
    }
  return counts;
}

}  // namespace windtunnel

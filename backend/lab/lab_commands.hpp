// The commands that build a lab: `ip`, `tc`, `bridge` and `sysctl`, in order. Text in, text out.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "backend/lab/command.hpp"
#include "backend/lab/lab_plan.hpp"

namespace windtunnel {

// The programs that the commands below start.
inline constexpr std::array<std::string_view, 4> kLabPrograms = {"ip", "tc", "bridge", "sysctl"};

std::vector<Command> up_commands(const LabPlan& plan);

// One of everything that a lab is made of, in a namespace kLabTrial: what a kernel cannot do fails
// here.
inline constexpr std::string_view kLabTrial = "windtunnel-trial";
std::vector<Command> trial_commands();

Command removal_command(const std::string& netns);

// Prints the counters of all queues of a namespace as JSON.
Command counters_command(const std::string& netns);
// The queueing discipline whose drops count: that of a shaper, which also counts what its queue
// drops.
inline constexpr std::string_view kLabShaper = "htb";

}  // namespace windtunnel

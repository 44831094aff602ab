// What a lab will consist of, by arithmetic from a Cluster; nothing is built here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend/lab/lab.hpp"
#include "cluster/cluster.hpp"

namespace windtunnel {

// What every namespace of a lab is called at the start, and the one that holds all switches.
inline constexpr std::string_view kLabPrefix = "windtunnel-";
inline constexpr std::string_view kLabFabric = "windtunnel-fabric";

struct LabPlan {
  Lab lab;
  int leaves = 1;  // switches that hosts are on; a star has one
  int spines = 0;  // each has one cable to every leaf; 0 in a star
  std::vector<int> leaf_of_host;
  std::vector<int> spine_to_host;  // the spine that traffic of other leaves takes to the host
  // What a user should know, as sentences: the lab is right, but the file may not describe it.
  std::vector<std::string> notes;
};

// Why a lab cannot look like this cluster, as a sentence for the user, or empty.
std::string lab_error(const Cluster& cluster);

// Requires that lab_error is empty. `topology`: the path to keep in the plan.
LabPlan lab_plan(const Cluster& cluster, const std::string& topology);

}  // namespace windtunnel

#include "backend/lab/lab_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/check.hpp"

namespace windtunnel {
namespace {

// One machine plays them all; their addresses and MACs end in one byte.
constexpr int kMostHosts = 64;
// A burst of the shaper (lab_commands.cpp) takes a quarter of a second at this rate: below it tests
// would wait for long until a link is as slow as it should be.
constexpr double kLeastBits = 1e6;
// Labs were measured against their arithmetic up to this rate: within 0.2 % at 16 MB.
constexpr double kMeasuredBits = 1e9;
// Payload over frame bytes, see lab.hpp.
constexpr double kTcpEfficiency = 1448.0 / 1514.0;

// "n3.nic0.up" and "leaf4.down2", as cluster/families.hpp and fat_tree.cpp name them.
struct LinkEnd {
  bool is_nic = false, is_up = false;
  int owner = 0;  // node or leaf
  int cable = 0;  // of a leaf
};

LinkEnd link_end(const std::string& name) {
  int owner = 0, number = 0, length = 0;
  for (const bool is_up : {true, false}) {
    const char* nic = is_up ? "n%d.nic%d.up%n" : "n%d.nic%d.down%n";
    if (std::sscanf(name.c_str(), nic, &owner, &number, &length) == 2 && length > 0)
      return {true, is_up, owner, 0};
    length = 0;
    const char* leaf = is_up ? "leaf%d.up%d%n" : "leaf%d.down%d%n";
    if (std::sscanf(name.c_str(), leaf, &owner, &number, &length) == 2 && length > 0)
      return {false, is_up, owner, number};
  }
  SIM_CHECK(false, "a link of a star or a fat tree of 2 levels is named " + name);
}

bool is_between_nodes(const Link& link) {
  return link.kind == LinkClass::Nic || link.kind == LinkClass::Fabric;
}

// The links of a Cluster carry what traffic gets; a shaper counts whole frames.
double bits_per_second(const Cluster& cluster, const Link& link) {
  return 8 * link.bandwidth.value / cluster.spec.fabric_parameters.number("efficiency");
}

std::string host_netns(int host) {
  return fmt::format("{}h{}", kLabPrefix, host);
}

std::string without_dots(std::string name) {
  name.erase(std::remove(name.begin(), name.end(), '.'), name.end());
  return name;
}

LabShaper shaper(const Cluster& cluster, const Link& link) {
  const LinkEnd end = link_end(link.name);
  const double rate = bits_per_second(cluster, link);
  if (end.is_nic && end.is_up) return {link.name, host_netns(end.owner), "eth0", rate};
  return {link.name, std::string(kLabFabric), without_dots(link.name), rate};
}

// A host on another leaf, or -1.
int host_elsewhere(const LabPlan& plan, int host) {
  const auto& leaves = plan.leaf_of_host;
  const auto found = std::find_if(leaves.begin(), leaves.end(),
                                  [&](int leaf) { return leaf != leaves[std::size_t(host)]; });
  return found == leaves.end() ? -1 : int(found - leaves.begin());
}

// The cable that the simulator's route takes; any, where no route does.
int spine_to(const Cluster& cluster, const LabPlan& plan, int host) {
  const int from = host_elsewhere(plan, host);
  if (from < 0) return 0;
  Route route;
  cluster.route_between_nodes({from, 0}, {host, 0}, route);
  return link_end(cluster.links[std::size_t(route.links[1])].name).cable;
}

std::vector<std::string> notes_on(const Cluster& cluster, const LabPlan& plan) {
  std::vector<std::string> notes;
  const double efficiency = cluster.spec.fabric_parameters.number("efficiency");
  if (std::abs(efficiency - kTcpEfficiency) > 1e-3)
    notes.push_back(
        fmt::format("the file predicts with efficiency {}, and TCP in a lab gets {:.4f} of a "
                    "link's rate",
                    efficiency, kTcpEfficiency));
  const auto& shapers = plan.lab.shapers;
  const auto fastest = std::max_element(shapers.begin(), shapers.end(), [](auto& a, auto& b) {
    return a.bits_per_second < b.bits_per_second;
  });
  if (fastest->bits_per_second > kMeasuredBits * 1.001)
    notes.push_back(
        fmt::format("labs are known to keep their rates up to 1 Gb/s, and link {} has {:.4g} Gb/s",
                    fastest->link, fastest->bits_per_second / 1e9));
  return notes;
}

}  // namespace

std::string lab_error(const Cluster& cluster) {
  const ClusterSpec& spec = cluster.spec;
  const int nodes = cluster.node_count();
  if (nodes == 1) return "A lab emulates the network between nodes, and this cluster has one node.";
  if (nodes > kMostHosts)
    return fmt::format("A lab has at most {} hosts, and this cluster has {} nodes.", kMostHosts,
                       nodes);
  if (spec.fabric != "star" && spec.fabric != "fat_tree")
    return fmt::format("A lab has a fabric of the family star or fat_tree, not {}.", spec.fabric);
  if (spec.fabric == "fat_tree" && spec.fabric_parameters.count("levels") != 2)
    return fmt::format("A lab's fat tree has 2 levels, not {}.",
                       spec.fabric_parameters.count("levels"));
  for (const NodeType& type : spec.node_types)
    if (type.nics != 1)
      return fmt::format("A host of a lab has 1 NIC, and node type '{}' has {}.", type.name,
                         type.nics);
  for (const Link& link : cluster.links) {
    if (!is_between_nodes(link)) continue;
    if (!link_end(link.name).is_nic && link_end(link.name).cable >= kMostHosts)
      return fmt::format("A leaf of a lab has at most {} cables up.", kMostHosts);
    if (const double rate = bits_per_second(cluster, link); rate < kLeastBits)
      return fmt::format("Link {} has {:.4g} b/s; a link of a lab has at least 1 Mb/s.", link.name,
                         rate);
  }
  return {};
}

LabPlan lab_plan(const Cluster& cluster, const std::string& topology) {
  SIM_CHECK(lab_error(cluster).empty(), lab_error(cluster));
  LabPlan plan;
  plan.lab.topology = topology;
  for (const Link& link : cluster.links)
    if (is_between_nodes(link)) {
      plan.lab.shapers.push_back(shaper(cluster, link));
      if (const LinkEnd end = link_end(link.name); !end.is_nic) {
        plan.leaves = std::max(plan.leaves, end.owner + 1);
        plan.spines = std::max(plan.spines, end.cable + 1);
      }
    }
  const bool is_tree = cluster.spec.fabric == "fat_tree";
  int rank = 0;
  for (int node = 0; node < cluster.node_count(); ++node) {
    const int ranks = cluster.node_type(node).gpus;
    plan.lab.hosts.push_back(
        {host_netns(node), fmt::format("10.77.0.{}", node + 1), "eth0", rank, ranks});
    rank += ranks;
    plan.leaf_of_host.push_back(
        is_tree ? int(node / cluster.spec.fabric_parameters.count("nodes_per_leaf")) : 0);
  }
  for (int node = 0; node < cluster.node_count(); ++node)
    plan.spine_to_host.push_back(spine_to(cluster, plan, node));
  plan.notes = notes_on(cluster, plan);
  return plan;
}

}  // namespace windtunnel

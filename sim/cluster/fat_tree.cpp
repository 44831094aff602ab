// A tree of non-blocking switches with parallel cables between them: leaf and spine (2 levels), or
// leaf, spine and core (3 levels, pods of leaves).
//
// Links: n3.nic1.up, n3.nic1.down; leaf4.up2, leaf4.down2 (cable 2 of leaf 4, to and from spine 2
// of its pod); spine9.up0, spine9.down0 (cable 0 of spine 9 to and from the core; 3 levels only).
//
// Numbers: nodes are in groups of nodes_per_leaf. Without rails a group has one leaf, of the
// group's number. With rails it has one for each NIC: leaf = group * rails + NIC, so that NICs of
// the same number meet on a leaf. A pod is leaves_per_pod leaves in order; spine = pod * (cables of
// a leaf) + cable.
//
// Sizes: a leaf has P ports of the cluster's fastest NIC: nodes_per_leaf, times the NICs of a node
// without rails. It has ceil(P / oversubscription) cables up, whose sum is P / oversubscription NIC
// rates. A spine has one cable to each leaf of its pod and in the same way core_oversubscription
// less to the core. There are as many spines and cores as cables ask for.
//
// Cable: D-mod-k, destination number modulo the cables, then the rest modulo the next level's: all
// flows to one port take the same way, and a shift permutation meets no contention in a full tree.
//
// latency: NICs and software of a message, hop_latency: each switch on the way (1, 3 or 5).
// Source: Leiserson 1985; D-mod-k: Zahavi 2010, "D-Mod-K Routing Providing Non-Blocking Traffic for
// Shift Permutations on Real Life Fat Trees". Rails: NVIDIA DGX SuperPOD reference architecture.
// Leaves out: adaptive routing and hashed ECMP, spine groups of one rail each, in-network reduction
// (SHARP).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cluster/families.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"levels", ParameterKind::Count},
    {"nodes_per_leaf", ParameterKind::Count},
    {"rails", ParameterKind::Flag, false, 0},
    {"leaves_per_pod", ParameterKind::Count, false, 0},
    {"oversubscription", ParameterKind::Ratio, false, 1},
    {"core_oversubscription", ParameterKind::Ratio, false, 1},
    {"efficiency", ParameterKind::Ratio},
    {"latency", ParameterKind::Time},
    {"hop_latency", ParameterKind::Time, false, 0},
};

// More links than any tree has; a slip of the pen must not fill the memory.
constexpr double kMostLinks = 1e7, kMostPorts = 1e6;

double cables_up(double ports, double oversubscription) {
  return std::max(1.0, std::ceil(ports / oversubscription));
}

// In doubles, because `limits` asks before the numbers are known to be sane.
struct Sizes {
  double rails, leaf_ports, leaf_cables, leaves, pod_leaves, spine_cables, pods;
};

Sizes sizes(const Parameters& parameters, std::span<const NodeType* const> nodes, int built) {
  Sizes s{};
  const double per_leaf = parameters.number("nodes_per_leaf"), nics = most_nics(nodes);
  s.rails = parameters.flag("rails") ? nics : 1;
  s.leaf_ports = parameters.flag("rails") ? per_leaf : per_leaf * nics;
  s.leaf_cables = cables_up(s.leaf_ports, parameters.number("oversubscription"));
  s.leaves = std::ceil(built / per_leaf) * s.rails;
  if (parameters.count("levels") == 3) {
    s.pod_leaves = parameters.number("leaves_per_pod");
    s.spine_cables = cables_up(s.pod_leaves, parameters.number("core_oversubscription"));
    s.pods = std::ceil(s.leaves / s.pod_leaves);
  }
  return s;
}

std::string limits(const Parameters& parameters, std::span<const NodeType* const> nodes) {
  if (std::string error = efficiency_error(parameters); !error.empty()) return error;
  if (std::string error = nic_error(nodes); !error.empty()) return error;
  const double levels = parameters.number("levels"), pod = parameters.number("leaves_per_pod");
  if (levels != 2 && levels != 3)
    return "A fat tree has 2 or 3 levels; one level is the family star.";
  if (levels == 3 && pod < 1) return "A fat tree of 3 levels needs leaves_per_pod.";
  if (levels == 2 && pod != 0)
    return "A fat tree of 2 levels has no pods: leave out leaves_per_pod.";
  if (levels == 2 && parameters.number("core_oversubscription") != 1)
    return "A fat tree of 2 levels has no core: leave out core_oversubscription.";
  for (const char* name : {"oversubscription", "core_oversubscription"})
    if (const double value = parameters.number(name); value < 0.01 || value > 1000)
      return fmt::format("The {} is {}; it must lie between 0.01 and 1000.", name, value);
  const Sizes s = sizes(parameters, nodes, int(nodes.size()));
  if (levels == 3 && std::fmod(pod, s.rails) != 0)
    return fmt::format(
        "With rails a group of nodes has {} leaves, and leaves_per_pod ({}) must be a "
        "multiple of that.",
        s.rails, pod);
  if (s.leaf_ports > kMostPorts)
    return fmt::format("A leaf of this fat tree would have {:.0f} ports; at most {:.0f} are built.",
                       s.leaf_ports, kMostPorts);
  const double links = 2 * (s.leaves * s.leaf_cables + s.pods * s.leaf_cables * s.spine_cables);
  if (links > kMostLinks)
    return fmt::format(
        "This fat tree would have {:.0f} links between switches; at most {:.0f} are "
        "built.",
        links, kMostLinks);
  return {};
}

struct FatTree {
  NicPorts ports;
  bool is_railed = false;
  int nodes_per_leaf = 1, rails = 1, nics = 1;
  int leaf_ports = 1, leaf_cables = 1, pod_leaves = 0, spine_cables = 0;
  int first_leaf = 0, first_spine = 0;  // links
  Seconds latency = {}, hop_latency = {};

  int leaf(NicPort port) const {
    return port.node / nodes_per_leaf * rails + (is_railed ? port.nic : 0);
  }
  int port_in_leaf(NicPort port) const {
    const int node = port.node % nodes_per_leaf;
    return is_railed ? node : node * nics + port.nic;
  }
  int leaf_up(int leaf, int cable) const { return first_leaf + 2 * (leaf * leaf_cables + cable); }
  int spine_up(int pod, int spine, int cable) const {
    return first_spine + 2 * ((pod * leaf_cables + spine) * spine_cables + cable);
  }

  void append(NicPort from, NicPort to, Route& route) const {
    const int source = leaf(from), target = leaf(to);
    int switches = 1;
    route.links.push_back(ports.up(from));
    if (source != target) {
      const long long destination = static_cast<long long>(target) * leaf_ports + port_in_leaf(to);
      const int spine = int(destination % leaf_cables);
      switches = 3;
      route.links.push_back(leaf_up(source, spine));
      if (pod_leaves > 0 && source / pod_leaves != target / pod_leaves) {
        const int cable = int(destination / leaf_cables % spine_cables);
        switches = 5;
        route.links.push_back(spine_up(source / pod_leaves, spine, cable));
        route.links.push_back(spine_up(target / pod_leaves, spine, cable) + 1);
      }
      route.links.push_back(leaf_up(target, spine) + 1);
    }
    route.links.push_back(ports.down(to));
    route.latency += latency + double(switches) * hop_latency;
  }
};

void add_cables(const char* what, int switches, int cables, Rate rate, std::vector<Link>& links) {
  for (int index = 0; index < switches; ++index)
    for (int cable = 0; cable < cables; ++cable)
      for (const char* direction : {"up", "down"})
        links.push_back(
            {fmt::format("{}{}.{}{}", what, index, direction, cable), rate, LinkClass::Fabric});
}

AppendRoute<NicPort> build(const Parameters& parameters, std::span<const NodeType* const> nodes,
                           int built, std::vector<Link>& links) {
  const Sizes s = sizes(parameters, nodes, built);
  const double efficiency = parameters.number("efficiency");
  const std::size_t all = links.size() + 2 * std::size_t(built) * std::size_t(most_nics(nodes)) +
                          2 * std::size_t(s.leaves * s.leaf_cables) +
                          2 * std::size_t(s.pods * s.leaf_cables * s.spine_cables);
  links.reserve(all);
  FatTree tree{.ports = NicPorts(nodes, built, efficiency, links)};
  tree.is_railed = parameters.flag("rails");
  tree.nodes_per_leaf = int(parameters.count("nodes_per_leaf"));
  tree.rails = int(s.rails);
  tree.nics = most_nics(nodes);
  tree.leaf_ports = int(s.leaf_ports);
  tree.leaf_cables = int(s.leaf_cables);
  tree.pod_leaves = int(s.pod_leaves);
  tree.spine_cables = int(s.spine_cables);
  tree.latency = Seconds(parameters.number("latency"));
  tree.hop_latency = Seconds(parameters.number("hop_latency"));
  const Rate leaf_rate = fastest_nic(nodes) * efficiency *
                         (s.leaf_ports / parameters.number("oversubscription") / s.leaf_cables);
  tree.first_leaf = int(links.size());
  add_cables("leaf", int(s.leaves), tree.leaf_cables, leaf_rate, links);
  tree.first_spine = int(links.size());
  if (s.pods > 0)
    add_cables(
        "spine", int(s.pods * s.leaf_cables), tree.spine_cables,
        leaf_rate * (s.pod_leaves / parameters.number("core_oversubscription") / s.spine_cables),
        links);
  return [tree = std::move(tree)](NicPort from, NicPort to, Route& route) {
    tree.append(from, to, route);
  };
}

}  // namespace

Fabric fat_tree() {
  return {"fat_tree", kParameters, limits, build,
          "Leiserson 1985; D-mod-k routing: Zahavi 2010; rails: NVIDIA DGX SuperPOD"};
}

}  // namespace windtunnel

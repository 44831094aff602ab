// A dragonfly: groups of routers, all routers of a group joined to one another, all groups joined
// by global cables. g groups, a routers a group, p nodes a router, h global cables a router.
//
// Links: n3.nic1.up, n3.nic1.down; group1.router2.to3 (from router 2 to router 3 of group 1);
// group1.global5 (leaves group 1 by its global cable 5; the other direction is a link of the other
// group).
//
// Cables: k = floor(a h / (g - 1)) between each two groups. Cable c of group i to group j has
// number c (g - 1) + o in group i, with o = (j - i - 1) mod g, and sits on router number / h. Way:
// minimal, at most one local, one global and one local hop, by cable c = destination node mod k.
//
// latency: NICs and software of a message, hop_latency: each router on the way (1 to 4).
// local_bandwidth, global_bandwidth: of a cable in one direction; absent, the fastest NIC's.
// Source: Kim, Dally, Scott, Abts 2008, "Technology-Driven, Highly-Scalable Dragonfly Topology".
// Leaves out: Valiant and adaptive (UGAL) routing, groups that are not fully joined.
#include <fmt/format.h>

#include "cluster/families.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"groups", ParameterKind::Count},
    {"routers_per_group", ParameterKind::Count},
    {"nodes_per_router", ParameterKind::Count},
    {"global_cables_per_router", ParameterKind::Count},
    {"local_bandwidth", ParameterKind::DataRate, false, 0},
    {"global_bandwidth", ParameterKind::DataRate, false, 0},
    {"efficiency", ParameterKind::Ratio},
    {"latency", ParameterKind::Time},
    {"hop_latency", ParameterKind::Time, false, 0},
};

// More links than any dragonfly has; a slip of the pen must not fill the memory.
constexpr double kMostLinks = 1e7;

std::string limits(const Parameters& parameters, std::span<const NodeType* const> nodes) {
  if (std::string error = efficiency_error(parameters); !error.empty()) return error;
  if (std::string error = nic_error(nodes); !error.empty()) return error;
  const double groups = parameters.number("groups");
  const double routers = parameters.number("routers_per_group");
  const double cables = routers * parameters.number("global_cables_per_router");
  const double places = groups * routers * parameters.number("nodes_per_router");
  if (double(nodes.size()) > places)
    return fmt::format("This dragonfly has {:.0f} places and the cluster {} nodes.", places,
                       nodes.size());
  if (groups - 1 > cables)
    return fmt::format("A group has {:.0f} global cables and {:.0f} other groups to reach.", cables,
                       groups - 1);
  if (groups * (routers * routers + cables) > kMostLinks || places > 1e9)
    return fmt::format("This dragonfly would have more than {:.0f} links.", kMostLinks);
  return {};
}

struct Dragonfly {
  NicPorts ports;
  int groups = 1, routers = 1, nodes_per_router = 1, cables_per_router = 1;
  int cables_per_pair = 0, cables_per_group = 0;
  int first_local = 0, first_global = 0;  // links
  Seconds latency = {}, hop_latency = {};

  int local(int group, int from, int to) const {
    return first_local + (group * routers + from) * (routers - 1) + (to < from ? to : to - 1);
  }
  int cable(int from_group, int to_group, int which) const {
    return which * (groups - 1) + (to_group - from_group - 1 + groups) % groups;
  }

  void append(NicPort from, NicPort to, Route& route) const {
    int router = from.node / nodes_per_router % routers, visited = 1;
    int group = from.node / nodes_per_router / routers;
    const auto walk = [&](int target) {
      if (router == target) return;
      route.links.push_back(local(group, router, target));
      router = target;
      ++visited;
    };
    const int target_router = to.node / nodes_per_router;
    route.links.push_back(ports.up(from));
    if (const int target_group = target_router / routers; group != target_group) {
      const int which = to.node % cables_per_pair;
      const int out = cable(group, target_group, which), in = cable(target_group, group, which);
      walk(out / cables_per_router);
      route.links.push_back(first_global + group * cables_per_group + out);
      group = target_group;
      router = in / cables_per_router;
      ++visited;
    }
    walk(target_router % routers);
    route.links.push_back(ports.down(to));
    route.latency += latency + double(visited) * hop_latency;
  }
};

AppendRoute<NicPort> build(const Parameters& parameters, std::span<const NodeType* const> nodes,
                           int built, std::vector<Link>& links) {
  const double efficiency = parameters.number("efficiency");
  Dragonfly fly{.ports = NicPorts(nodes, built, efficiency, links)};
  fly.groups = int(parameters.count("groups"));
  fly.routers = int(parameters.count("routers_per_group"));
  fly.nodes_per_router = int(parameters.count("nodes_per_router"));
  fly.cables_per_router = int(parameters.count("global_cables_per_router"));
  if (fly.groups > 1) fly.cables_per_pair = fly.routers * fly.cables_per_router / (fly.groups - 1);
  fly.cables_per_group = fly.cables_per_pair * (fly.groups - 1);
  fly.latency = Seconds(parameters.number("latency"));
  fly.hop_latency = Seconds(parameters.number("hop_latency"));
  const auto rate = [&](std::string_view parameter) {
    const Rate stated(parameters.number(parameter));
    return (stated.value > 0 ? stated : fastest_nic(nodes)) * efficiency;
  };
  // The cables of all groups: a way between built nodes may lead through routers without built
  // nodes.
  fly.first_local = int(links.size());
  for (int group = 0; group < fly.groups; ++group)
    for (int from = 0; from < fly.routers; ++from)
      for (int to = 0; to < fly.routers; ++to)
        if (from != to)
          links.push_back({fmt::format("group{}.router{}.to{}", group, from, to),
                           rate("local_bandwidth"), LinkClass::Fabric});
  fly.first_global = int(links.size());
  for (int group = 0; group < fly.groups; ++group)
    for (int cable = 0; cable < fly.cables_per_group; ++cable)
      links.push_back({fmt::format("group{}.global{}", group, cable), rate("global_bandwidth"),
                       LinkClass::Fabric});
  return [fly = std::move(fly)](NicPort from, NicPort to, Route& route) {
    fly.append(from, to, route);
  };
}

}  // namespace

Fabric dragonfly() {
  return {"dragonfly", kParameters, limits, build, "Kim, Dally, Scott, Abts 2008"};
}

}  // namespace windtunnel

// One non-blocking switch: every NIC has a port on it and nothing else is shared.
//
// Links: n3.nic1.up, n3.nic1.down.
// Leaves out: the number of ports that a real switch has.
#include "cluster/families.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"efficiency", ParameterKind::Ratio},
    {"latency", ParameterKind::Time},
};

std::string limits(const Parameters& parameters, std::span<const NodeType* const> nodes) {
  const std::string error = efficiency_error(parameters);
  return error.empty() ? nic_error(nodes) : error;
}

AppendRoute<NicPort> build(const Parameters& parameters, std::span<const NodeType* const> nodes,
                           int built, std::vector<Link>& links) {
  NicPorts ports(nodes, built, parameters.number("efficiency"), links);
  const Seconds latency(parameters.number("latency"));
  return [ports = std::move(ports), latency](NicPort from, NicPort to, Route& route) {
    route.links.push_back(ports.up(from));
    route.links.push_back(ports.down(to));
    route.latency += latency;
  };
}

}  // namespace

Fabric star() {
  return {"star", kParameters, limits, build, "A single switch"};
}

}  // namespace windtunnel

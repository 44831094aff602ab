// A torus of 2 or 3 dimensions: every node is a router with a cable to both neighbours in each.
//
// Links: n3.nic1.up, n3.nic1.down (between the node and its router); n3.x+, n3.x- and so on for y
// and z: the cable that leaves node 3 towards the neighbour with the next larger or smaller
// coordinate, rings closed. Node = x + y * X + z * X * Y for dims [X, Y, Z].
//
// Way: dimension order, x first, in each the shorter direction; + where both are equally far, so a
// dimension of 2 uses + alone.
//
// bandwidth: of a cable in one direction; absent, the fastest NIC's. hop_latency: each cable.
//
// Source: Dally & Seitz 1987 (dimension order); TPU pods and Blue Gene are such machines.
//
// Leaves out: virtual channels, adaptive routing, twisted tori.
#include <fmt/format.h>

#include "cluster/families.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"dims", ParameterKind::Counts},
    {"bandwidth", ParameterKind::DataRate, false, 0},
    {"efficiency", ParameterKind::Ratio},
    {"latency", ParameterKind::Time},
    {"hop_latency", ParameterKind::Time, false, 0},
};

std::string limits(const Parameters& parameters, std::span<const NodeType* const> nodes) {
  if (std::string error = efficiency_error(parameters); !error.empty()) return error;
  if (std::string error = nic_error(nodes); !error.empty()) return error;
  const std::vector<double>& dims = parameters.list("dims");
  if (dims.size() != 2 && dims.size() != 3) return "A torus has 2 or 3 dims.";
  double places = 1;
  for (const double dim : dims) {
    if (dim < 2) return "Every dimension of a torus has at least 2 nodes.";
    places *= dim;
  }
  if (places == double(nodes.size())) return {};
  return fmt::format("This torus has {:.0f} places and the cluster {} nodes; they must be equal.",
                     places, nodes.size());
}

struct Torus {
  NicPorts ports;
  std::vector<int> dims = {};
  int first_cable = 0;
  Seconds latency = {}, hop_latency = {};

  void append(NicPort from, NicPort to, Route& route) const {
    route.links.push_back(ports.up(from));
    const int axes = int(dims.size());
    int node = from.node, stride = 1, hops = 0;
    for (int axis = 0; axis < axes; ++axis) {
      const int size = dims[std::size_t(axis)];
      int here = node / stride % size;
      const int there = to.node / stride % size;
      const int ahead = (there - here + size) % size;
      const bool is_minus = 2 * ahead > size;
      for (; here != there; ++hops) {
        route.links.push_back(first_cable + 2 * (node * axes + axis) + (is_minus ? 1 : 0));
        const int next = (here + (is_minus ? size - 1 : 1)) % size;
        node += (next - here) * stride;
        here = next;
      }
      stride *= size;
    }
    route.links.push_back(ports.down(to));
    route.latency += latency + double(hops) * hop_latency;
  }
};

AppendRoute<NicPort> build(const Parameters& parameters, std::span<const NodeType* const> nodes,
                           int built, std::vector<Link>& links) {
  const double efficiency = parameters.number("efficiency");
  Torus torus{.ports = NicPorts(nodes, built, efficiency, links)};
  for (const double dim : parameters.list("dims")) torus.dims.push_back(int(dim));
  torus.first_cable = int(links.size());
  torus.latency = Seconds(parameters.number("latency"));
  torus.hop_latency = Seconds(parameters.number("hop_latency"));
  const Rate stated(parameters.number("bandwidth"));
  const Rate rate = (stated.value > 0 ? stated : fastest_nic(nodes)) * efficiency;
  // The cables of all nodes: a way between built nodes may lead through others.
  for (std::size_t node = 0; node < nodes.size(); ++node)
    for (std::size_t axis = 0; axis < torus.dims.size(); ++axis)
      for (const char sign : {'+', '-'})
        links.push_back(
            {fmt::format("n{}.{}{}", node, "xyz"[axis], sign), rate, LinkClass::Fabric});
  return [torus = std::move(torus)](NicPort from, NicPort to, Route& route) {
    torus.append(from, to, route);
  };
}

}  // namespace

Fabric torus() {
  return {"torus", kParameters, limits, build, "Dimension-order routing: Dally & Seitz 1987"};
}

}  // namespace windtunnel

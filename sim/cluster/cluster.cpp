#include "cluster/cluster.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/check.hpp"
#include "cluster/families.hpp"

namespace windtunnel {
namespace {

template <class Row>
const Row& row_named(std::span<const Row> rows, const std::string& name) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name; });
  SIM_CHECK(found != rows.end(), "no family is named '" + name + "'");
  return *found;
}

const NodeType& type_of(const ClusterSpec& spec, std::size_t node) {
  return spec.node_types[std::size_t(spec.type_of_node[node])];
}

// The first nodes that together have `gpus` GPUs; all of them for 0.
int node_count_for(const ClusterSpec& spec, int gpus) {
  const std::size_t all = spec.type_of_node.size();
  if (gpus == 0) return int(all);
  long long sum = 0;
  for (std::size_t node = 0; node < all; ++node) {
    sum += type_of(spec, node).gpus;
    if (sum >= gpus) return int(node) + 1;
  }
  SIM_CHECK(false, "more GPUs were asked for than the cluster has");
}

void build_node(int node, Cluster& cluster) {
  const NodeType& type = cluster.node_type(node);
  const NodeInterconnect& family = row_named(node_interconnects(), type.interconnect);
  SIM_CHECK(family.limits(type.interconnect_parameters, type).empty(),
            family.limits(type.interconnect_parameters, type));
  const std::string prefix = fmt::format("n{}.", node);
  cluster.route_in_node.push_back(
      family.build(type.interconnect_parameters, type, prefix, cluster.links));
  for (int local = 0; local < type.gpus; ++local) cluster.gpus.push_back({node, local, 1});
}

void build_fabric(int built, Cluster& cluster) {
  const ClusterSpec& spec = cluster.spec;
  if (spec.fabric.empty()) {
    SIM_CHECK(spec.type_of_node.size() == 1, "several nodes need a fabric");
    return;
  }
  std::vector<const NodeType*> nodes;
  nodes.reserve(spec.type_of_node.size());
  for (std::size_t node = 0; node < spec.type_of_node.size(); ++node)
    nodes.push_back(&type_of(spec, node));
  const Fabric& fabric = row_named(fabrics(), spec.fabric);
  const std::string error = fabric.limits(spec.fabric_parameters, nodes);
  SIM_CHECK(error.empty(), error);
  cluster.route_between_nodes = fabric.build(spec.fabric_parameters, nodes, built, cluster.links);
}

void apply_overrides(Cluster& cluster) {
  for (const auto& change : cluster.spec.gpu_overrides)
    for (GpuPlace& place : cluster.gpus)
      if (place.node == change.node && place.local == change.gpu) place.slowdown = change.slowdown;
  if (cluster.spec.link_overrides.empty()) return;
  std::unordered_map<std::string_view, Link*> by_name;
  for (Link& link : cluster.links) by_name.emplace(link.name, &link);
  for (const auto& change : cluster.spec.link_overrides)
    if (const auto found = by_name.find(change.link); found != by_name.end())
      found->second->bandwidth = found->second->bandwidth * change.bandwidth_factor;
}

}  // namespace

int Cluster::nic_of(int gpu) const {
  const GpuPlace& place = gpus[std::size_t(gpu)];
  const NodeType& type = node_type(place.node);
  SIM_CHECK(type.nics > 0, type.name + " has no NIC");
  return nic_of_gpu(place.local, type.gpus, type.nics);
}

Route Cluster::route(int from_gpu, int to_gpu, int rail) const {
  SIM_CHECK(from_gpu != to_gpu, "a GPU needs no route to itself");
  const GpuPlace& from = gpus[std::size_t(from_gpu)];
  const GpuPlace& to = gpus[std::size_t(to_gpu)];
  Route route;
  route.links.reserve(8);
  if (from.node == to.node) {
    route_in_node[std::size_t(from.node)](from.local, to.local, route);
    return route;
  }
  const int from_nic = rail < 0 ? nic_of(from_gpu) : rail;
  const int to_nic = rail < 0 ? nic_of(to_gpu) : rail;
  SIM_CHECK(from_nic < node_type(from.node).nics && to_nic < node_type(to.node).nics,
            "a node has no NIC for this rail");
  route_in_node[std::size_t(from.node)](from.local, node_type(from.node).gpus + from_nic, route);
  route_between_nodes({from.node, from_nic}, {to.node, to_nic}, route);
  route_in_node[std::size_t(to.node)](node_type(to.node).gpus + to_nic, to.local, route);
  return route;
}

Cluster build_cluster(const ClusterSpec& spec, int gpus) {
  SIM_CHECK(!spec.type_of_node.empty(), "a cluster has a node");
  Cluster cluster;
  cluster.spec = spec;
  const int built = node_count_for(spec, gpus);
  for (int node = 0; node < built; ++node) build_node(node, cluster);
  build_fabric(built, cluster);
  apply_overrides(cluster);
  return cluster;
}

std::string link_override_error(const ClusterSpec& spec) {
  if (spec.link_overrides.empty()) return {};
  const Cluster cluster = build_cluster(spec);
  for (const auto& change : spec.link_overrides)
    if (std::none_of(cluster.links.begin(), cluster.links.end(),
                     [&](const Link& link) { return link.name == change.link; }))
      return fmt::format(
          "This cluster has no link '{}'. Its links run from '{}' to '{}'; "
          "topologies/README.md explains the names.",
          change.link, cluster.links.front().name, cluster.links.back().name);
  return {};
}

}  // namespace windtunnel

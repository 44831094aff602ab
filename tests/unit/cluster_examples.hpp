// Clusters made of nothing but parameters, for the tests of this room.
#pragma once

#include <set>
#include <string>

#include "cluster/families.hpp"

namespace windtunnel {

// A GPU that reaches every peak, without launch overhead: times are then the bare roofline's.
inline GpuSpec perfect_gpu() {
  GpuSpec gpu;
  gpu.name = "perfect A100";
  gpu.memory = Bytes(80e9);
  gpu.memory_bandwidth = Rate(2039e9);
  gpu.peak[std::size_t(DType::Bf16)] = FlopRate(312e12);
  for (EfficiencyCurve& curve : gpu.efficiency) curve.points = {{1, 1}};
  gpu.tdp = Watts(400);
  return gpu;
}

// Values that fit every family: each count is 2, lists are [2, 3], so six nodes fit each fabric.
inline Parameters example_parameters(std::span<const ParameterSpec> specs) {
  Parameters parameters;
  for (const ParameterSpec& spec : specs) {
    const bool is_list = spec.kind == ParameterKind::Counts;
    double value = spec.fallback;
    if (spec.required && spec.kind == ParameterKind::Count) value = 2;
    if (spec.required && spec.kind == ParameterKind::DataRate) value = 100e9;
    if (spec.required && spec.kind == ParameterKind::Time) value = 1e-6;
    if (spec.required && spec.kind == ParameterKind::Ratio) value = 1;
    if (is_list)
      parameters.set(spec.name, std::vector<double>{2, 3});
    else
      parameters.set(spec.name, value);
  }
  return parameters;
}

template <class Row>
const Row& row_named(std::span<const Row> rows, std::string_view name) {
  for (const Row& row : rows)
    if (row.name == name) return row;
  SIM_CHECK(false, "no such row");
}

inline NodeType example_node(std::string_view interconnect, int gpus = 4, int nics = 2) {
  NodeType node;
  node.name = "example";
  node.gpu = perfect_gpu();
  node.gpus = gpus;
  node.interconnect = interconnect;
  node.interconnect_parameters =
      example_parameters(row_named(node_interconnects(), interconnect).parameters);
  node.nics = nics;
  node.nic_bandwidth = Rate(25e9);
  return node;
}

inline ClusterSpec example_cluster(std::string_view fabric, int nodes, NodeType node) {
  ClusterSpec spec;
  spec.name = "example";
  spec.node_types = {std::move(node)};
  spec.type_of_node.assign(std::size_t(nodes), 0);
  spec.fabric = fabric;
  spec.fabric_parameters = example_parameters(row_named(fabrics(), fabric).parameters);
  return spec;
}

inline std::string fabric_error(const ClusterSpec& spec) {
  std::vector<const NodeType*> nodes;
  for (const int type : spec.type_of_node) nodes.push_back(&spec.node_types[std::size_t(type)]);
  return row_named(fabrics(), spec.fabric).limits(spec.fabric_parameters, nodes);
}

inline std::vector<std::string> names(const Cluster& cluster, const Route& route) {
  std::vector<std::string> result;
  for (const int link : route.links) result.push_back(cluster.links[std::size_t(link)].name);
  return result;
}

inline Rate bandwidth_of(const Cluster& cluster, std::string_view name) {
  for (const Link& link : cluster.links)
    if (link.name == name) return link.bandwidth;
  SIM_CHECK(false, "no link " + std::string(name));
}

}  // namespace windtunnel

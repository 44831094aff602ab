// Nodes, what joins them, how collectives are costed, and where this cluster differs from itself.
#include <fmt/format.h>

#include "collectives/collective.hpp"
#include "config/loaders.hpp"

namespace windtunnel {
namespace {

constexpr std::int64_t kMostGpus = std::int64_t{1} << 20;

// The tasks of an entry of `nodes`, which a node of CPUs needs and one of GPUs refuses.
std::optional<CpuTasks> read_tasks(YamlMap& entry, const YamlMap& node) {
  if (is_cpu_node(node))
    return CpuTasks{entry.at("tasks_per_node").count(), entry.at("cpus_per_task").count()};
  for (const char* key : {"tasks_per_node", "cpus_per_task"})
    if (const auto value = entry.find(key)) value->fail("only a node of CPUs has tasks");
  return std::nullopt;
}

void read_nodes(const YamlValue& list, ClusterSpec& cluster) {
  std::int64_t gpus = 0, nics = 0;
  for (const YamlValue& item : list.items()) {
    YamlMap entry = item.map();
    const YamlValue type = entry.at("type"), count = entry.at("count");
    const NodeType node = read_named(type, FileKind::Node, [&](const YamlMap& map) {
      const auto tasks = read_tasks(entry, map);
      entry.finish();
      return read_node(map, tasks);
    });
    const int nodes = count.count();
    gpus += std::int64_t{nodes} * node.gpus;
    nics += std::int64_t{nodes} * node.nics;
    if (gpus > kMostGpus) count.fail(fmt::format("more than {} GPUs in the cluster", kMostGpus));
    if (nics > kMostGpus) count.fail(fmt::format("more than {} NICs in the cluster", kMostGpus));
    cluster.node_types.push_back(node);
    cluster.type_of_node.insert(cluster.type_of_node.end(), std::size_t(nodes),
                                int(cluster.node_types.size()) - 1);
  }
  if (cluster.node_types.empty()) list.fail("the list is empty");
}

void read_fabric(YamlMap map, ClusterSpec& cluster) {
  const Fabric& family = row_of(fabrics(), map.at("family"));
  cluster.fabric = family.name;
  cluster.fabric_parameters = read_parameters(map, family.parameters);
  map.finish();
  std::vector<const NodeType*> nodes;
  for (const int type : cluster.type_of_node)
    nodes.push_back(&cluster.node_types[std::size_t(type)]);
  const std::string why = family.limits(cluster.fabric_parameters, nodes);
  if (!why.empty()) map.fail(why);
}

// How collectives are costed.
void read_collectives(YamlMap& map, const YamlValue& model, Communication& communication) {
  communication.model = model.one_of<CommunicationModel>(kCommunicationModelNames);
  const bool by_links = communication.model == CommunicationModel::AlphaBeta;
  const bool is_gloo = communication.model == CommunicationModel::Gloo;
  if (by_links)
    communication.algorithm = row_of(collective_table(), map.at("algorithm")).name;
  else if (const auto algorithm = map.find("algorithm"))
    algorithm->fail(fmt::format("the {} model chooses the algorithm itself", model.text()));
  for (const auto& [key, latency] :
       {std::pair("operation_latency", &communication.operation_latency),
        std::pair("segment_latency", &communication.segment_latency)}) {
    if (is_gloo)
      *latency = Seconds(map.at(key).quantity(QuantityKind::Duration, true));
    else if (const auto value = map.find(key))
      value->fail("only the gloo model has it");
  }
}

void read_point_to_point(YamlMap& map, Communication& communication) {
  if (const auto mode = map.find("point_to_point"))
    communication.point_to_point = mode->one_of<PointToPoint>(kPointToPointNames);
  if (communication.point_to_point == PointToPoint::Rendezvous)
    communication.receives_ahead = int(map.at("receives_ahead").integer(0, kMostGpus));
  else if (const auto ahead = map.find("receives_ahead"))
    ahead->fail("only with point_to_point: rendezvous does a receive have to be posted");
}

void read_communication(YamlMap map, ClusterSpec& cluster) {
  Communication& communication = cluster.communication;
  const YamlValue model = map.at("model");
  read_collectives(map, model, communication);
  read_point_to_point(map, communication);
  const auto cpu_per_byte = map.find("cpu_per_byte");
  if (cpu_per_byte)
    communication.cpu_seconds_per_byte = cpu_per_byte->quantity(QuantityKind::TimePerByte);
  const bool has_measured = communication.model == CommunicationModel::Gloo || cpu_per_byte;
  const auto source = has_measured ? map.at("source") : map.find("source");
  if (source) communication.source = source->text();
  map.finish();
  for (const NodeType& node : cluster.node_types) {
    if (cpu_per_byte && node.gpu.arch != "cpu")
      cpu_per_byte->fail(fmt::format(
          "communication takes core time from compute on CPUs only, and the node '{}' has GPUs",
          node.name));
    if (communication.model == CommunicationModel::Nccl && !node.nccl)
      model.fail(fmt::format("the nccl model needs an 'nccl' section in the file of the node '{}'",
                             node.name));
  }
}

Power read_power(YamlMap map) {
  Power power;
  power.utilization = map.at("utilization").proportion();
  const YamlValue pue = map.at("pue");
  power.pue = pue.ratio();
  if (power.pue < 1) pue.fail(fmt::format("expected a number from 1, got '{}'", pue.text()));
  power.source = map.at("source").text();
  map.finish();
  return power;
}

ClusterSpec::GpuOverride read_gpu_override(YamlMap map, const ClusterSpec& cluster) {
  ClusterSpec::GpuOverride change;
  const YamlValue node = map.at("node"), gpu = map.at("gpu");
  change.slowdown = map.at("slowdown").ratio();
  map.finish();
  change.node = int(node.integer(0, std::int64_t(cluster.type_of_node.size()) - 1));
  const int type = cluster.type_of_node[std::size_t(change.node)];
  change.gpu = int(gpu.integer(0, cluster.node_types[std::size_t(type)].gpus - 1));
  return change;
}

void read_overrides(const YamlValue& list, ClusterSpec& cluster) {
  for (const YamlValue& item : list.items()) {
    YamlMap map = item.map();
    const auto link = map.find("link");
    if (!link) {
      cluster.gpu_overrides.push_back(read_gpu_override(map, cluster));
      continue;
    }
    cluster.link_overrides.push_back({link->text(), map.at("bandwidth_factor").ratio()});
    map.finish();
  }
  const std::string why = link_override_error(cluster);
  if (why.empty()) return;
  for (const YamlValue& item : list.items())
    if (const auto link = item.map().find("link"))
      if (why.find(fmt::format("'{}'", link->text())) != std::string::npos) link->fail(why);
  list.fail(why);
}

}  // namespace

ClusterSpec read_cluster(YamlMap map) {
  ClusterSpec cluster;
  read_name(map, cluster.name, cluster.source);
  const YamlValue nodes = map.at("nodes");
  const auto communication = is_root(map) ? map.at("communication") : map.find("communication");
  const auto fabric = map.find("fabric"), power = map.find("power");
  const auto overrides = map.find("overrides");
  map.finish();

  read_nodes(nodes, cluster);
  if (fabric)
    read_fabric(fabric->map(), cluster);
  else if (cluster.type_of_node.size() > 1)
    map.fail(
        fmt::format("missing key 'fabric', which joins the {} nodes", cluster.type_of_node.size()));
  if (communication) read_communication(communication->map(), cluster);
  if (power) cluster.power = read_power(power->map());
  if (overrides) read_overrides(*overrides, cluster);
  return cluster;
}

}  // namespace windtunnel

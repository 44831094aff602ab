// One node: its GPUs or CPU cores, what joins them, and its NICs.
#include "cluster/cpu_node.hpp"
#include "config/loaders.hpp"

namespace windtunnel {
namespace {

// More than any node has; keeps a cluster's number of links within reach.
constexpr int kMostPerNode = 1024;

NodeType::Nccl read_nccl(YamlMap map) {
  NodeType::Nccl nccl;
  nccl.channels = int(map.at("channels").integer(1, kMostPerNode));
  nccl.channel_intra = Rate(map.at("channel_intra").quantity(QuantityKind::DataRate));
  nccl.channels_inter = int(map.at("channels_inter").integer(1, kMostPerNode));
  nccl.channel_inter = Rate(map.at("channel_inter").quantity(QuantityKind::DataRate));
  if (const auto value = map.find("nvls")) nccl.nvls = value->flag();
  if (const auto value = map.find("amd_cpu")) nccl.amd_cpu = value->flag();
  nccl.source = map.at("source").text();
  nccl.multiprocessors = int(map.at("multiprocessors").integer(1, kMostPerNode));
  map.finish();
  return nccl;
}

void read_nics(YamlMap map, NodeType& node) {
  node.nics = int(map.at("count").integer(1, kMostPerNode));
  node.nic_bandwidth = Rate(map.at("bandwidth").quantity(QuantityKind::DataRate));
  map.finish();
}

// After the number of GPUs and NICs is known: a family may check them.
void read_interconnect(YamlMap map, NodeType& node) {
  const NodeInterconnect& family = row_of(node_interconnects(), map.at("family"));
  node.interconnect = family.name;
  node.interconnect_parameters = read_parameters(map, family.parameters);
  map.finish();
  const std::string why = family.limits(node.interconnect_parameters, node);
  if (!why.empty()) map.fail(why);
}

CpuSlots read_slots(YamlMap& map) {
  CpuSlots slots;
  slots.cores = int(map.at("cores").integer(1, kMostPerNode));
  slots.memory = Bytes(map.at("memory").quantity(QuantityKind::ByteSize));
  slots.memory_bandwidth = Rate(map.at("memory_bandwidth").quantity(QuantityKind::DataRate));
  slots.cpus_per_task = slots.cores;
  return slots;
}

}  // namespace

bool is_cpu_node(const YamlMap& map) {
  return place(map, {"cores"}).path() != map.value().path();
}

NodeType read_node(YamlMap map, const std::optional<CpuTasks>& tasks) {
  NodeType node;
  read_name(map, node.name, node.source);
  const YamlValue gpu = map.at("gpu");
  std::optional<CpuSlots> slots;
  if (is_cpu_node(map))
    slots = read_slots(map);
  else
    node.gpus = int(map.at("gpus").integer(1, kMostPerNode));
  const YamlValue interconnect = map.at("interconnect");
  const auto nics = map.find("nics");
  const auto nccl = slots ? std::nullopt : map.find("nccl");
  map.finish();

  node.gpu = read_named(gpu, FileKind::Gpu, read_gpu);
  if (nics) read_nics(nics->map(), node);
  if (nccl) node.nccl = read_nccl(nccl->map());
  if (slots) {
    if (tasks) {
      slots->tasks_per_node = tasks->tasks_per_node;
      slots->cpus_per_task = tasks->cpus_per_task;
    }
    const std::string why = cpu_node_error(*slots);
    if (!why.empty()) map.fail(why);
    node = cpu_node(std::move(node), *slots);
  }
  read_interconnect(interconnect.map(), node);
  return node;
}

}  // namespace windtunnel

// GPUs on PCIe switches, the switches on the CPU sockets' host bridges. NICs hang on the same
// switches, spread over them in order.
//
// Links: n3.gpu2.up and .down (the GPU's slot), n3.pcie1.up and .down (a switch's uplink to its
// socket), n3.socket0.up and .down (a socket's way to the other sockets; with two sockets the up
// of one and the down of the other are the same cable and equally fast). A GPU that sits in a slot
// of the CPU itself has gpus_per_switch: 1.
//
// bandwidth: a slot and an uplink, one direction (Gen4 x16: 32 GB/s). socket_bandwidth: between
// sockets. latency: of a message between GPUs; also of one between a GPU and a NIC on another
// switch. The fabric's own latency holds the way between a GPU and a NIC on its switch.
//
// A NIC has no link to its switch: its port into the fabric is what limits it.
//
// Leaves out: peer-to-peer transfers that the CPU cannot forward (NCCL then goes through memory:
// state the rate that it gets), host memory traffic on the same links.
#include <fmt/format.h>

#include "cluster/families.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"gpus_per_switch", ParameterKind::Count}, {"switches_per_socket", ParameterKind::Count},
    {"bandwidth", ParameterKind::DataRate},    {"socket_bandwidth", ParameterKind::DataRate},
    {"efficiency", ParameterKind::Ratio},      {"latency", ParameterKind::Time},
};

std::string limits(const Parameters& parameters, const NodeType&) {
  return efficiency_error(parameters);
}

struct PcieTree {
  int gpus = 0, nics = 0, switches = 0;
  long long gpus_per_switch = 1, switches_per_socket = 1;
  int first_gpu = 0, first_switch = 0, first_socket = 0;  // links
  Seconds latency = {};

  int switch_of(int endpoint) const {
    if (endpoint < gpus) return int(endpoint / gpus_per_switch);
    return nic_of_gpu(endpoint - gpus, nics, switches);
  }

  void append(int from, int to, Route& route) const {
    const auto push = [&route](int first, int index, bool down) {
      route.links.push_back(first + 2 * index + (down ? 1 : 0));
    };
    const int source = switch_of(from), target = switch_of(to);
    const int socket = int(source / switches_per_socket);
    const int target_socket = int(target / switches_per_socket);
    if (from < gpus) push(first_gpu, from, false);
    if (source != target) push(first_switch, source, false);
    if (socket != target_socket) {
      push(first_socket, socket, false);
      push(first_socket, target_socket, true);
    }
    if (source != target) push(first_switch, target, true);
    if (to < gpus) push(first_gpu, to, true);
    if (source != target || (from < gpus && to < gpus)) route.latency += latency;
  }
};

AppendRoute<int> build(const Parameters& parameters, const NodeType& node,
                       const std::string& prefix, std::vector<Link>& links) {
  PcieTree tree{.gpus = node.gpus, .nics = node.nics};
  tree.gpus_per_switch = parameters.count("gpus_per_switch");
  tree.switches_per_socket = parameters.count("switches_per_socket");
  tree.switches = int((node.gpus - 1) / tree.gpus_per_switch) + 1;
  tree.latency = Seconds(parameters.number("latency"));
  const int sockets = int((tree.switches - 1) / tree.switches_per_socket) + 1;
  const auto add = [&](const char* what, int count, std::string_view parameter) {
    const int first = int(links.size());
    const Rate rate = parameters.number("efficiency") * Rate(parameters.number(parameter));
    for (int i = 0; i < count; ++i)
      for (const char* direction : {"up", "down"})
        links.push_back(
            {fmt::format("{}{}{}.{}", prefix, what, i, direction), rate, LinkClass::Pcie});
    return first;
  };
  tree.first_gpu = add("gpu", node.gpus, "bandwidth");
  tree.first_switch = add("pcie", tree.switches, "bandwidth");
  tree.first_socket = add("socket", sockets > 1 ? sockets : 0, "socket_bandwidth");
  return [tree](int from, int to, Route& route) { tree.append(from, to, route); };
}

}  // namespace

NodeInterconnect pcie_tree() {
  return {"pcie_tree", kParameters, limits, build,
          "PCI Express root complexes and switches, as nvidia-smi topo -m shows them"};
}

}  // namespace windtunnel

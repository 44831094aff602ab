// The rows of both tables, one function a file, and what the families share. A new family: its
// file, one line here, one line in table.cpp.
#pragma once

#include "cluster/cluster.hpp"

namespace windtunnel {

NodeInterconnect nvlink_switch();
NodeInterconnect pcie_tree();
NodeInterconnect shared_memory();

Fabric star();
Fabric fat_tree();
Fabric torus();
Fabric dragonfly();

// GPUs are spread over the NICs in order: with 8 GPUs and 4 NICs, GPUs 0 and 1 use NIC 0; with 2
// GPUs and 4 NICs, GPU 1 uses NIC 2.
constexpr int nic_of_gpu(int gpu, int gpus, int nics) {
  return int(static_cast<long long>(gpu) * nics / gpus);
}

// The GPU that stands nearest to a NIC: the first of those that use it; for a NIC that none uses,
// the one whose share of the NICs it is in.
constexpr int gpu_at_nic(int nic, int gpus, int nics) {
  const long long product = static_cast<long long>(nic) * gpus;
  return int(nics <= gpus ? (product + nics - 1) / nics : product / nics);
}

// Whether the NIC is one of the GPU's own, so that no other GPU stands between them.
constexpr bool is_own_nic(int gpu, int nic, int gpus, int nics) {
  return nics <= gpus ? nic_of_gpu(gpu, gpus, nics) == nic : gpu_at_nic(nic, gpus, nics) == gpu;
}

// The NIC ports of the built nodes: "n3.nic1.up" (into the fabric) and "n3.nic1.down".
class NicPorts {
 public:
  NicPorts(std::span<const NodeType* const> nodes, int built, double efficiency,
           std::vector<Link>& links);
  int up(NicPort port) const { return first_[std::size_t(port.node)] + 2 * port.nic; }
  int down(NicPort port) const { return up(port) + 1; }

 private:
  std::vector<int> first_;  // by node
};

// Reasons that several families have to refuse; empty where there is none.
std::string efficiency_error(const Parameters& parameters);
std::string nic_error(std::span<const NodeType* const> nodes);

// Of the cluster's fastest NIC: what a cable of the fabric is when its parameters do not say.
Rate fastest_nic(std::span<const NodeType* const> nodes);
int most_nics(std::span<const NodeType* const> nodes);

}  // namespace windtunnel

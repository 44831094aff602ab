// GPUs joined by NVSwitches (DGX, HGX): each GPU has one port up into the switches and one down.
//
// Links: n3.gpu2.up, n3.gpu2.down. bandwidth is the GPU's NVLink rate in one direction (A100 300
// GB/s). The switches have no link: they are non-blocking for the ports they have.
//
// GPU to its own NIC: no link. On these nodes a PCIe switch joins each GPU to its NICs with at
// least the NICs' rate (DGX A100: Gen4 x16 and 200 Gb/s; DGX H100: Gen5 x16 and 400 Gb/s), so the
// NIC's port is always the narrower one. GPU to another GPU's NIC: by NVLink to that GPU first, as
// NCCL's PXN.
//
// Source: NVIDIA DGX A100 and DGX H100 system architecture; PXN: NCCL 2.12.
//
// Leaves out: NVLink SHARP (the collective's model knows it), the number of switches.
#include <fmt/format.h>

#include "cluster/families.hpp"

namespace windtunnel {
namespace {

constexpr ParameterSpec kParameters[] = {
    {"bandwidth", ParameterKind::DataRate},
    {"efficiency", ParameterKind::Ratio},
    {"latency", ParameterKind::Time},
};

std::string limits(const Parameters& parameters, const NodeType&) {
  return efficiency_error(parameters);
}

AppendRoute<int> build(const Parameters& parameters, const NodeType& node,
                       const std::string& prefix, std::vector<Link>& links) {
  const int first = int(links.size()), gpus = node.gpus, nics = node.nics;
  const Rate rate = parameters.number("efficiency") * Rate(parameters.number("bandwidth"));
  for (int gpu = 0; gpu < gpus; ++gpu)
    for (const char* direction : {"up", "down"})
      links.push_back({fmt::format("{}gpu{}.{}", prefix, gpu, direction), rate, LinkClass::NvLink});
  const Seconds latency(parameters.number("latency"));
  return [first, gpus, nics, latency](int from, int to, Route& route) {
    // The GPU whose port stands for the endpoint: a NIC is reached through the GPU next to it.
    const auto port = [gpus, nics](int endpoint, int other) {
      if (endpoint < gpus) return endpoint;
      const int nic = endpoint - gpus;
      return is_own_nic(other, nic, gpus, nics) ? other : gpu_at_nic(nic, gpus, nics);
    };
    const int source = port(from, to), target = port(to, from);
    if (source == target) return;
    route.links.push_back(first + 2 * source);
    route.links.push_back(first + 2 * target + 1);
    route.latency += latency;
  };
}

}  // namespace

NodeInterconnect nvlink_switch() {
  return {"nvlink_switch", kParameters, limits, build,
          "NVIDIA DGX A100 and DGX H100 system architecture; PXN: NCCL 2.12"};
}

}  // namespace windtunnel

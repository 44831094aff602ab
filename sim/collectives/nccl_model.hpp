// NCCL's own cost model (src/graph/tuning.cc of NCCL 2.30.7): latency and bandwidth of each
// algorithm and protocol, and the choice that NCCL makes by them. A model for choosing; real
// systems differ from it.
#pragma once

#include <string_view>

#include "collectives/collective.hpp"

namespace windtunnel {

enum class NcclArch { Volta, Ampere, Hopper, Blackwell };
enum class NcclAlgorithm { Tree, Ring, Nvls };
enum class NcclProtocol { LL, LL128, Simple };
enum class NcclLink { NvLink, Pci };  // how the GPUs of a node are joined

// What NCCL's graph search found: an input here.
struct NcclGraph {
  NcclArch arch = NcclArch::Ampere;
  NcclLink intra = NcclLink::NvLink;
  int channels = 1;
  Rate channel_intra;  // per channel, inside a node
  Rate channel_inter;  // per channel, between nodes
  bool amd_cpu = false;
  bool nvls = false;
  Seconds nic_latency;
  bool ll128 = true;          // the LL128 protocol is enabled
  bool same_channels = true;  // all channels have the same ring (matters for broadcast)
  bool plain_tree = false;    // the search fell back to the TREE pattern (one GPU does all)
};

struct NcclCost {
  NcclAlgorithm algorithm = NcclAlgorithm::Ring;
  NcclProtocol protocol = NcclProtocol::Simple;
  Seconds latency;
  Rate algorithm_bandwidth;  // time = latency + S / algorithm_bandwidth
  Seconds time(Bytes size) const { return latency + size / algorithm_bandwidth; }
};

// The cost of one algorithm and protocol for S bytes, all corrections applied. Infinite latency
// where NCCL does not offer the pair.
NcclCost nccl_cost(const NcclGraph& graph, CollectiveKind kind, NcclAlgorithm algorithm,
                   NcclProtocol protocol, int ranks, int nodes, Bytes size);

// The pair with the least time; first in table order on a tie.
NcclCost nccl_choice(const NcclGraph& graph, CollectiveKind kind, int ranks, int nodes, Bytes size);

std::string_view name_of(NcclAlgorithm algorithm);
std::string_view name_of(NcclProtocol protocol);

}  // namespace windtunnel

// Nodes, GPUs, NICs, links and prices: a graph of links with routes by arithmetic, no time and no
// traffic.
//
// A link is one direction of a cable: full duplex is two links. A non-blocking crossbar (NVSwitch,
// a switch that is not oversubscribed inside) has no link of its own, only ports.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/parameters.hpp"
#include "base/units.hpp"
#include "cluster/gpu.hpp"

namespace windtunnel {

enum class LinkClass { NvLink, Pcie, Nic, Fabric };  // for utilisation reports
inline constexpr std::array<std::string_view, 4> kLinkClassNames = {"nvlink", "pcie", "nic",
                                                                    "fabric"};

struct Link {
  std::string name;  // "n3.nic2.up": what an override in a cluster file refers to
  Rate bandwidth;    // what traffic can get: the datasheet's rate times the family's `efficiency`
  LinkClass kind = LinkClass::Fabric;
};

struct Route {
  std::vector<int> links;  // indices into Cluster::links
  Seconds latency;         // of one message end to end, without its bytes
};

// Adds the links of the way from one endpoint to another, and its latency, to the route.
template <class Endpoint>
using AppendRoute = std::function<void(Endpoint from, Endpoint to, Route& route)>;

struct NicPort {
  int node = 0;
  int nic = 0;
};

struct NodeType {
  std::string name;
  std::string source;
  GpuSpec gpu;
  int gpus = 1;
  std::string interconnect;  // a row of node_interconnects()
  Parameters interconnect_parameters;
  int nics = 0;
  Rate nic_bandwidth;  // per NIC and direction, datasheet
  // What NCCL's graph search finds on this node (NCCL's topology log prints it); absent: not an
  // NCCL node.
  struct Nccl {
    int channels = 1;        // of a communicator inside the node
    Rate channel_intra;      // per channel
    int channels_inter = 1;  // of a communicator between nodes that uses all NICs
    Rate channel_inter;      // per channel
    bool nvls = false;
    bool amd_cpu = false;
    int multiprocessors = 0;  // of a GPU; a channel's kernel takes one
    std::string source;
  };
  std::optional<Nccl> nccl;
};

// Builds the links inside one node. Endpoints 0 .. gpus-1 are GPUs, gpus .. gpus+nics-1 are the
// node's NICs. Link names start with `prefix`.
struct NodeInterconnect {
  std::string_view name;
  std::span<const ParameterSpec> parameters;
  // Why the node does not fit the parameters, as a sentence for the user, or empty.
  std::string (*limits)(const Parameters& parameters, const NodeType& node);
  AppendRoute<int> (*build)(const Parameters& parameters, const NodeType& node,
                            const std::string& prefix, std::vector<Link>& links);
  std::string_view source;
};
std::span<const NodeInterconnect> node_interconnects();

// Builds the links between nodes, the NIC ports included. `nodes[i]` is the type of node i of the
// whole cluster, which fixes the geometry; only the first `built` nodes get their ports and are
// routed.
struct Fabric {
  std::string_view name;
  std::span<const ParameterSpec> parameters;
  // Why these nodes do not fit the parameters (a torus of 4x4 with 17 nodes), as a sentence for the
  // user, or empty.
  std::string (*limits)(const Parameters& parameters, std::span<const NodeType* const> nodes);
  AppendRoute<NicPort> (*build)(const Parameters& parameters,
                                std::span<const NodeType* const> nodes, int built,
                                std::vector<Link>& links);
  std::string_view source;
};
std::span<const Fabric> fabrics();

// How communication is costed on this cluster.
enum class CommunicationModel { AlphaBeta, Nccl, Gloo };
inline constexpr std::array<std::string_view, 3> kCommunicationModelNames = {"alpha_beta", "nccl",
                                                                             "gloo"};
// When a message's bytes begin to flow. Eager: when it is sent. Rendezvous: when it is sent and its
// receiver has posted the receive.
enum class PointToPoint { Eager, Rendezvous };
inline constexpr std::array<std::string_view, 2> kPointToPointNames = {"eager", "rendezvous"};
struct Communication {
  CommunicationModel model = CommunicationModel::AlphaBeta;
  std::string algorithm = "ring";  // AlphaBeta: a row of collectives/; the others have their own
  Seconds operation_latency, segment_latency;  // Gloo: as in collectives/gloo_model.hpp
  PointToPoint point_to_point = PointToPoint::Eager;
  // Rendezvous: of each peer and direction a rank has posted as many receives as its compute stream
  // has reached, in the order in which it needs them, and this many more.
  int receives_ahead = 0;
  // Ranks on CPUs: core time for a byte sent and a byte received, taken from compute that runs
  // beside communication. 0: none.
  double cpu_seconds_per_byte = 0;
  std::string source;
};

struct Power {
  double utilization = 1;  // part of the TDP that a GPU draws while training
  double pue = 1;          // power usage effectiveness of the data centre
  std::string source;
};

struct Price {
  std::string name;  // file stem
  std::string provider, region, instance, date, source;
  int gpus_per_node = 0;
  std::optional<UsdPerHour> on_demand, spot;  // per node-hour
};

struct GpuPlace {
  int node = 0;
  int local = 0;        // index inside the node
  double slowdown = 1;  // its kernels take this many times as long
};

// What a cluster file says; build_cluster turns it into links and places.
struct ClusterSpec {
  std::string name, source;
  std::vector<NodeType> node_types;
  std::vector<int> type_of_node;  // by node
  std::string fabric;             // a row of fabrics(); empty for a single node
  Parameters fabric_parameters;
  Communication communication;
  std::optional<Power> power;
  struct GpuOverride {
    int node = 0, gpu = 0;
    double slowdown = 1;
  };
  struct LinkOverride {
    std::string link;
    double bandwidth_factor = 1;  // of the link's own bandwidth
  };
  std::vector<GpuOverride> gpu_overrides;
  std::vector<LinkOverride> link_overrides;
};

struct Cluster {
  ClusterSpec spec;  // of the whole cluster, also when only a part is built
  std::vector<Link> links;
  std::vector<GpuPlace> gpus;  // node by node
  std::vector<AppendRoute<int>> route_in_node;
  AppendRoute<NicPort> route_between_nodes;

  int node_count() const { return int(route_in_node.size()); }  // that are built
  const NodeType& node_type(int node) const {
    return spec.node_types[std::size_t(spec.type_of_node[std::size_t(node)])];
  }
  const GpuSpec& gpu_spec(int gpu) const { return node_type(gpus[std::size_t(gpu)].node).gpu; }
  // The NIC that a GPU uses by itself: GPUs are spread over the node's NICs in order. Requires a
  // NIC.
  int nic_of(int gpu) const;
  // The way between two different GPUs. Between nodes `rail` names the NIC used at both ends; -1:
  // each GPU's own. Traffic of a GPU to another GPU's rail goes by the node's interconnect first.
  Route route(int from_gpu, int to_gpu, int rail = -1) const;
};

// Only the first `gpus` GPUs are built, in whole nodes (0: all): a job on 64 GPUs of Selene does
// not pay for 4,480. Routes and links are those of the whole cluster. Overrides of links and GPUs
// outside the built part do nothing.
Cluster build_cluster(const ClusterSpec& spec, int gpus = 0);

// Why the first link override that names no link of the whole cluster is wrong, or empty.
std::string link_override_error(const ClusterSpec& spec);

}  // namespace windtunnel

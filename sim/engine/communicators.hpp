// The communicators of a Plan laid on the links of a Cluster: who takes part, over which links each
// phase of an algorithm flows, and what a collective of some size costs on it.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/units.hpp"
#include "cluster/cluster.hpp"
#include "collectives/collective.hpp"
#include "collectives/nccl_model.hpp"
#include "engine/compute_share.hpp"
#include "engine/network.hpp"
#include "plan/measured_times.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// One phase of an algorithm on links. Every edge carries `share` of the collective's size.
struct CommunicatorPhase {
  std::vector<LinkUse> uses;  // cluster links, ascending
  Seconds latency;            // of the slowest edge, one message
  double share = 1;
  int rounds = 1;
  int edges = 0;
};

// A set of ranks with one algorithm for one kind of collective; or a directed pair of pipeline
// neighbours.
struct Communicator {
  int type = 0;              // index into Communicators::types
  int group = -1;            // communicators over the same ranks have the same group
  std::vector<int> members;  // ranks; a pair is {sender, receiver}
  std::vector<CommunicatorPhase> phases;
};

// What a collective of one size is to the simulation: phases one after the other on a communicator.
struct CollectiveStep {
  Seconds latency;  // paid before the flow
  Bytes bytes;      // of every edge, protocol overhead included
  Rate limit;       // of one edge's flow; 0: the links alone
};
struct CollectiveCost {
  int communicator = -1;  // -1: a group of one, nothing to do
  std::vector<CollectiveStep> steps;
  // What kernels lose while it runs or waits for its members: as a profile has measured it, or the
  // multiprocessors that NCCL's kernel takes, one for each channel that NCCL runs, twice what its
  // graph search finds (NCCL 2.30.7, src/graph/connect.cc). For others 0.
  ComputeShare compute_share;
  // Sent by a member, and received: the mean over members. 0 where the above has been measured, and
  // the copies' part in it.
  Bytes per_member;
};

// A distinct collective of the plan.
struct CollectiveUse {
  GroupName group = GroupKind::Data;
  CollectiveKind kind = CollectiveKind::AllReduce;
  Bytes size;
  TokenRouting routing;  // LayerCollective::routing
  auto operator<=>(const CollectiveUse&) const = default;
};
constexpr CollectiveUse use_of(const LayerCollective& collective) {
  return {group_kind(collective.group), collective.kind, collective.size, collective.routing};
}

class Communicators {
 public:
  // All arguments must outlive it.
  Communicators(const Plan& plan, const Cluster& cluster, const MeasuredTimes& measured);

  struct Type {
    bool pair = false;
    GroupName group = GroupKind::Data;
    CollectiveKind kind = CollectiveKind::AllReduce;
    std::string algorithm;
    int from = 0, to = 0;  // pipeline coordinates of a pair
    bool beside_compute =
        true;  // may flow while its members compute; false: it holds their streams
  };
  std::vector<Type> types;
  std::vector<Communicator> all;
  std::vector<CollectiveUse> uses;

  int use_index(const CollectiveUse& use) const;
  // The cost of a use for the group that a rank is in.
  const CollectiveCost& cost(int rank, int use) const;
  // Whether a rank takes part in a collective's communicator (not a pair).
  bool contains(const Communicator& communicator, int rank) const;
  // Every send of every round of a collective of this size on a communicator; empty for a pair and
  // for algorithms without rounds.
  std::vector<Round> rounds(int communicator, Bytes size) const;
  // The pair that carries messages from a rank to the same place of another pipeline coordinate.
  int pair(int sender, int to_pipeline) const;
  // The cost of a message on it.
  CollectiveStep message(int pair, Bytes bytes) const;

 private:
  void collect_uses();
  void lay_groups(GroupName name);
  void lay_pairs();
  std::size_t place_of_pair(int sender, int to_pipeline) const;
  int lay(int type, int group, const std::vector<int>& members, const Group& shape);
  CollectiveCost cost_of(const CollectiveUse& use, const std::vector<int>& members, int group);
  CollectiveCost cost_by_links(const CollectiveUse& use, const std::vector<int>& members,
                               const Group& shape, int group);
  CollectiveCost cost_by_nccl(const CollectiveUse& use, const std::vector<int>& members,
                              const Group& shape, int group);
  Seconds time_on_links(const CommunicatorPhase& phase, Bytes bytes) const;
  ComputeShare compute_share(const Group& shape, const std::vector<int>& members) const;
  void slow_down(double factor, CollectiveCost& cost) const;
  void add_gloo_latencies(const CollectiveUse& use, CollectiveCost& cost) const;
  int find_or_lay(const CollectiveUse& use, const std::string& algorithm,
                  const std::vector<int>& members, const Group& shape, int group);
  Group shape_of(const std::vector<int>& members) const;
  NcclGraph nccl_graph(const std::vector<int>& members, const Group& shape) const;
  Seconds latency_beyond_infiniband() const;
  CommunicatorPhase phase_on_links(const Phase& phase, const std::vector<int>& members) const;

  const Plan& plan_;
  const Cluster& cluster_;
  const MeasuredTimes& measured_;
  std::map<CollectiveUse, int> use_index_;
  std::array<bool, kGroupKindNames.size()> beside_compute_{};
  std::vector<int> pair_index_;  // by sender and pipeline coordinate of the receiver; -1: none
  std::map<std::tuple<int, std::string, CollectiveKind>, int> laid_;  // group, algorithm, kind
  std::map<GroupName, std::vector<int>> group_of_rank_;
  std::vector<std::map<int, CollectiveCost>> costs_;  // by group: use -> cost
  int groups_ = 0;
};

}  // namespace windtunnel

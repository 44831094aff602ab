// What is simulated: representatives of the classes of a partition, wired to the links they share.
#pragma once

#include <map>
#include <vector>

#include "cluster/cluster.hpp"
#include "engine/communicators.hpp"
#include "engine/fold.hpp"
#include "engine/network.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

struct Layout {
  struct Rank {
    int rank = 0;  // the representative
    int represented = 1;
    int program = 0;
    double slowdown = 1;
  };
  struct Channel {             // a communicator that is simulated
    int communicator = 0;      // index into Communicators::all, the representative
    std::vector<int> members;  // indices into ranks; a pair is {sender, receiver}
    std::vector<int> path_of_phase;
    std::map<std::pair<int, int>, int> path_of_edge;  // (member, member) -> path; `rounds` only
  };
  struct SimulatedLink {
    int link = 0;  // the representative
    int represented = 1;
    double scale = 1;  // the wiring's capacity and uses are the link's own divided by this
  };
  std::vector<Rank> ranks;
  std::vector<Channel> channels;  // by communicator class
  std::vector<SimulatedLink> links;
  Wiring wiring;
  std::vector<int> channel_of_communicator;  // by index into Communicators::all
  const Channel& channel_of(int communicator) const {
    return channels[std::size_t(channel_of_communicator[std::size_t(communicator)])];
  }
};

// How paths use links. Shared: a representative link carries the flows of all that it represents.
// Alone: a path has its own uses only, as if nothing else flowed (what links carry is then counted
// for one path at a time). Edges: shared, and every edge of every algorithm has a path of its own
// too (requires an unfolded partition).
enum class Wires { Shared, Alone, Edges };
Layout lay_out(const Plan& plan, const Cluster& cluster, const Communicators& communicators,
               const Partition& partition, const std::vector<double>& slowdown, Wires wires);

}  // namespace windtunnel

// Folding: which ranks, communicators and links are provably alike, so that one of each need be
// simulated.
//
// Classes come from colour refinement on the graph of ranks, communicators and links: two things
// share a class only if their neighbourhoods have the same classes with the same multiplicity (an
// equitable partition). Max-min fair rates are unique, so a permutation inside the classes maps the
// whole trajectory onto itself: all members of a class do the same at the same time, and one
// representative is exact. A straggler, another GPU type, a degraded link or an uneven route has
// another colour and splits what it touches by itself.
//
// Source: colour refinement, e.g. Berkholz, Bonsma, Grohe 2017, Theory Comput. Syst. 60 (2017),
// 581-614; equitable partitions of linear programs: Grohe, Kersting, Mladenov, Selman 2014,
// arXiv:1307.5697.
#pragma once

#include <vector>

#include "cluster/cluster.hpp"
#include "engine/communicators.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

struct Partition {
  std::vector<int> rank_class, communicator_class, link_class;  // link_class: -1 for an unused link
  int rank_classes = 0, communicator_classes = 0, link_classes = 0;
};

// `slowdown` is by rank: a rank's kernels take this many times as long. Communicators that are not
// `used` (by index) separate nothing: the classes of a part of the step in which they are silent.
Partition fold(const Plan& plan, const Cluster& cluster, const Communicators& communicators,
               const std::vector<double>& slowdown, const std::vector<bool>& used);

// Everything in a class of its own.
Partition unfolded(const Plan& plan, const Cluster& cluster, const Communicators& communicators);

}  // namespace windtunnel

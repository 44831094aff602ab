#include "engine/fold.hpp"

#include <bit>
#include <cstdint>
#include <unordered_map>

#include "base/mix.hpp"

namespace windtunnel {

namespace {

using Colour = std::uint64_t;

Colour combine(Colour a, Colour b) {
  return mix(a ^ mix(b));
}
Colour colour_of(double value) {
  return mix(std::bit_cast<Colour>(value));
}

struct Colours {
  std::vector<Colour> ranks, communicators, links;
};

// Classes numbered in order of first appearance, so that a representative is the lowest index.
int number_classes(const std::vector<Colour>& colours, std::vector<int>& classes,
                   const std::vector<bool>* used = nullptr) {
  std::unordered_map<Colour, int> number;
  classes.assign(colours.size(), -1);
  for (std::size_t i = 0; i < colours.size(); ++i)
    if (used == nullptr || (*used)[i])
      classes[i] = number.try_emplace(colours[i], int(number.size())).first->second;
  return int(number.size());
}

std::vector<bool> used_links(const Cluster& cluster, const Communicators& communicators,
                             const std::vector<bool>& used_communicators) {
  std::vector<bool> used(cluster.links.size());
  for (std::size_t c = 0; c < communicators.all.size(); ++c)
    if (used_communicators[c])
      for (const CommunicatorPhase& phase : communicators.all[c].phases)
        for (const LinkUse& use : phase.uses) used[std::size_t(use.link)] = true;
  return used;
}

Partition number(const Colours& colours, const std::vector<bool>& used) {
  Partition partition;
  partition.rank_classes = number_classes(colours.ranks, partition.rank_class);
  partition.communicator_classes =
      number_classes(colours.communicators, partition.communicator_class);
  partition.link_classes = number_classes(colours.links, partition.link_class, &used);
  return partition;
}

// A GPU's hardware: ranks of one node type have the same.
Colours initial_colours(const Plan& plan, const Cluster& cluster,
                        const Communicators& communicators, const std::vector<double>& slowdown) {
  Colours colours;
  for (int rank = 0; rank < plan.grid.size(); ++rank) {
    const int node = cluster.gpus[std::size_t(rank)].node;
    const Colour place = combine(Colour(plan.grid.coordinates(rank).pipeline),
                                 Colour(cluster.spec.type_of_node[std::size_t(node)]));
    colours.ranks.push_back(combine(place, colour_of(slowdown[std::size_t(rank)])));
  }
  for (const Communicator& communicator : communicators.all) {
    Colour colour = combine(Colour(communicator.type), communicator.members.size());
    for (const CommunicatorPhase& phase : communicator.phases) {
      colour = combine(colour, colour_of(phase.latency.value));
      colour = combine(colour, colour_of(phase.share));
    }
    colours.communicators.push_back(colour);
  }
  for (const Link& link : cluster.links) colours.links.push_back(colour_of(link.bandwidth.value));
  return colours;
}

// One round: every thing takes up the colours of its neighbours, sums standing for multisets.
Colours refined(const Colours& old, const Communicators& communicators,
                const std::vector<bool>& used) {
  Colours next = old;
  std::vector<Colour> at_rank(old.ranks.size()), at_link(old.links.size());
  for (std::size_t c = 0; c < communicators.all.size(); ++c) {
    if (!used[c]) continue;
    const Communicator& communicator = communicators.all[c];
    const bool ordered = communicators.types[std::size_t(communicator.type)].pair;
    Colour around = 0;
    for (std::size_t i = 0; i < communicator.members.size(); ++i) {
      const std::size_t member = std::size_t(communicator.members[i]);
      const Colour role = ordered ? i : 0;
      around += combine(old.ranks[member], role);
      at_rank[member] += combine(old.communicators[c], role);
    }
    for (std::size_t p = 0; p < communicator.phases.size(); ++p)
      for (const LinkUse& use : communicator.phases[p].uses) {
        const Colour how = combine(Colour(p), Colour(use.times));
        around += combine(old.links[std::size_t(use.link)], how);
        at_link[std::size_t(use.link)] += combine(old.communicators[c], how);
      }
    next.communicators[c] = combine(old.communicators[c], around);
  }
  for (std::size_t i = 0; i < at_rank.size(); ++i)
    next.ranks[i] = combine(old.ranks[i], at_rank[i]);
  for (std::size_t i = 0; i < at_link.size(); ++i)
    next.links[i] = combine(old.links[i], at_link[i]);
  return next;
}

}  // namespace

Partition fold(const Plan& plan, const Cluster& cluster, const Communicators& communicators,
               const std::vector<double>& slowdown, const std::vector<bool>& used) {
  const std::vector<bool> links = used_links(cluster, communicators, used);
  Colours colours = initial_colours(plan, cluster, communicators, slowdown);
  Partition partition = number(colours, links);
  while (true) {
    colours = refined(colours, communicators, used);
    Partition finer = number(colours, links);
    const bool stable = finer.rank_classes == partition.rank_classes &&
                        finer.communicator_classes == partition.communicator_classes &&
                        finer.link_classes == partition.link_classes;
    partition = std::move(finer);
    if (stable) return partition;
  }
}

Partition unfolded(const Plan& plan, const Cluster& cluster, const Communicators& communicators) {
  Colours colours;
  for (int rank = 0; rank < plan.grid.size(); ++rank) colours.ranks.push_back(Colour(rank));
  for (std::size_t c = 0; c < communicators.all.size(); ++c) colours.communicators.push_back(c);
  for (std::size_t link = 0; link < cluster.links.size(); ++link) colours.links.push_back(link);
  const std::vector<bool> all(communicators.all.size(), true);
  return number(colours, used_links(cluster, communicators, all));
}

}  // namespace windtunnel

#include "engine/layout.hpp"

#include <algorithm>
#include <numeric>

#include "base/check.hpp"

namespace windtunnel {

namespace {

constexpr int kNone = -1;

// The lowest index of each class, and how many there are.
struct Representatives {
  std::vector<int> first, count;
  Representatives(const std::vector<int>& class_of, int classes)
      : first(std::size_t(classes), kNone), count(std::size_t(classes), 0) {
    for (int i = 0; i < int(class_of.size()); ++i) {
      const int c = class_of[std::size_t(i)];
      if (c == kNone) continue;
      if (first[std::size_t(c)] == kNone) first[std::size_t(c)] = i;
      ++count[std::size_t(c)];
    }
  }
};

std::vector<Layout::Rank> simulated_ranks(const Plan& plan, const Partition& partition,
                                          const std::vector<double>& slowdown) {
  const Representatives ranks(partition.rank_class, partition.rank_classes);
  std::vector<Layout::Rank> simulated;
  for (std::size_t c = 0; c < ranks.first.size(); ++c)
    simulated.push_back({ranks.first[c], ranks.count[c],
                         plan.grid.coordinates(ranks.first[c]).pipeline,
                         slowdown[std::size_t(ranks.first[c])]});
  return simulated;
}

std::vector<Layout::Channel> simulated_channels(const Communicators& communicators,
                                                const Partition& partition) {
  const Representatives classes(partition.communicator_class, partition.communicator_classes);
  std::vector<Layout::Channel> channels;
  for (const int first : classes.first) {
    const Communicator& communicator = communicators.all[std::size_t(first)];
    Layout::Channel channel{.communicator = first};
    for (const int member : communicator.members)
      channel.members.push_back(partition.rank_class[std::size_t(member)]);
    if (!communicators.types[std::size_t(communicator.type)].pair) {
      // Members of one class arrive together: one arrival of their representative stands for all.
      std::sort(channel.members.begin(), channel.members.end());
      channel.members.erase(std::unique(channel.members.begin(), channel.members.end()),
                            channel.members.end());
    }
    channels.push_back(std::move(channel));
  }
  return channels;
}

// The paths of channels on simulated links. A representative link carries the flows of every
// communicator that crosses it; alike ones flow at the same rate, so a channel uses it as often as
// they do together.
void wire(const Cluster& cluster, const Communicators& communicators, const Partition& partition,
          Wires wires, Layout& layout) {
  const Representatives links(partition.link_class, partition.link_classes);
  for (Layout::Channel& channel : layout.channels)
    for (std::size_t p = 0; p < communicators.all[std::size_t(channel.communicator)].phases.size();
         ++p) {
      channel.path_of_phase.push_back(int(layout.wiring.paths.size()));
      layout.wiring.paths.emplace_back();
    }
  std::vector<std::map<int, int>> times(links.first.size());  // by simulated link: path -> times
  for (std::size_t c = 0; c < communicators.all.size(); ++c) {
    const Layout::Channel& channel = layout.channel_of(int(c));
    const Communicator& communicator = communicators.all[c];
    for (std::size_t p = 0; p < communicator.phases.size(); ++p)
      for (const LinkUse& use : communicator.phases[p].uses) {
        const auto link_class = std::size_t(partition.link_class[std::size_t(use.link)]);
        const int path = channel.path_of_phase[p];
        if (wires == Wires::Alone)
          times[link_class][path] = use.times;
        else if (links.first[link_class] == use.link)
          times[link_class][path] += use.times;
      }
  }
  for (std::size_t i = 0; i < times.size(); ++i) {
    int scale = 0;  // a flow lists a link as often as it uses it: keep those numbers small
    for (const auto& [path, count] : times[i]) scale = std::gcd(scale, count);
    SIM_CHECK(scale > 0, "a link without a use");
    if (wires == Wires::Edges) scale = 1;
    const Link& link = cluster.links[std::size_t(links.first[i])];
    layout.links.push_back({links.first[i], links.count[i], double(scale)});
    layout.wiring.capacities.push_back(link.bandwidth / double(scale));
    for (const auto& [path, count] : times[i])
      layout.wiring.paths[std::size_t(path)].push_back({int(i), count / scale});
  }
}

// One path for each pair of members between which a round of the channel's algorithm sends.
void add_edge_paths(const Cluster& cluster, const Communicators& communicators,
                    const Partition& partition, Layout& layout) {
  for (Layout::Channel& channel : layout.channels) {
    const std::vector<int>& members = communicators.all[std::size_t(channel.communicator)].members;
    for (const Round& round : communicators.rounds(channel.communicator, Bytes(1)))
      for (const Send& send : round) {
        const auto [edge, is_new] =
            channel.path_of_edge.try_emplace({send.from, send.to}, int(layout.wiring.paths.size()));
        if (!is_new) continue;
        std::map<int, int> times;
        const Route route =
            cluster.route(members[std::size_t(send.from)], members[std::size_t(send.to)]);
        for (const int link : route.links) ++times[partition.link_class[std::size_t(link)]];
        std::vector<LinkUse>& uses = layout.wiring.paths.emplace_back();
        for (const auto& [link, count] : times) {
          SIM_CHECK(link != kNone, "a round uses a link that no phase uses");
          uses.push_back({link, count});
        }
      }
  }
}

}  // namespace

Layout lay_out(const Plan& plan, const Cluster& cluster, const Communicators& communicators,
               const Partition& partition, const std::vector<double>& slowdown, Wires wires) {
  Layout layout;
  layout.ranks = simulated_ranks(plan, partition, slowdown);
  layout.channels = simulated_channels(communicators, partition);
  layout.channel_of_communicator = partition.communicator_class;
  wire(cluster, communicators, partition, wires, layout);
  if (wires == Wires::Edges) add_edge_paths(cluster, communicators, partition, layout);
  return layout;
}

}  // namespace windtunnel

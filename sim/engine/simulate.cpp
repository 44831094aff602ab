#include "engine/simulate.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "base/check.hpp"
#include "engine/communicators.hpp"
#include "engine/fold.hpp"
#include "engine/layout.hpp"
#include "engine/lower.hpp"
#include "engine/machine.hpp"
#include "engine/network.hpp"

namespace windtunnel {

namespace {

std::vector<double> slowdowns(const Plan& plan, const Cluster& cluster,
                              const Conditions& conditions) {
  std::vector<double> slowdown(std::size_t(plan.grid.size()));
  for (std::size_t rank = 0; rank < slowdown.size(); ++rank)
    slowdown[rank] = cluster.gpus[rank].slowdown;
  for (const Straggler& straggler : conditions.stragglers) {
    SIM_CHECK(straggler.rank >= 0 && straggler.rank < plan.grid.size(), "no such rank");
    slowdown[std::size_t(straggler.rank)] *= straggler.slowdown;
  }
  return slowdown;
}

// Whether two communicators can never flow at the same time: both hold their members' compute
// streams and they have a member in common, or they are one group.
bool exclusive(const Communicators& communicators, const Communicator& a, const Communicator& b) {
  if (a.group == b.group) return true;
  if (communicators.types[std::size_t(a.type)].beside_compute ||
      communicators.types[std::size_t(b.type)].beside_compute)
    return false;
  return std::any_of(a.members.begin(), a.members.end(),
                     [&](int rank) { return communicators.contains(b, rank); });
}

bool is_layer_group(GroupName name) {
  return name == GroupKind::Tensor || name == GroupKind::Context || name == GroupKind::Expert ||
         name == GroupKind::ExpertTensor;
}

// Communicators whose collectives can be part of one merged span: nobody else uses their links at
// the same time, and their members do the same at the same time.
std::vector<bool> private_lockstep(const Cluster& cluster, const Communicators& communicators,
                                   const Partition& alike) {
  std::vector<std::vector<int>> users(cluster.links.size());  // by link: communicators
  const auto for_links = [](const Communicator& communicator, const auto& visit) {
    for (const CommunicatorPhase& phase : communicator.phases)
      for (const LinkUse& use : phase.uses) visit(std::size_t(use.link));
  };
  for (int c = 0; c < int(communicators.all.size()); ++c)
    for_links(communicators.all[std::size_t(c)], [&](std::size_t link) {
      if (users[link].empty() || users[link].back() != c) users[link].push_back(c);
    });
  std::vector<bool> result;
  for (const Communicator& communicator : communicators.all) {
    const auto& type = communicators.types[std::size_t(communicator.type)];
    bool good = !type.pair && is_layer_group(type.group);
    const auto class_of = [&](int rank) { return alike.rank_class[std::size_t(rank)]; };
    for (const int member : communicator.members)
      good = good && class_of(member) == class_of(communicator.members.front());
    if (good)
      for_links(communicator, [&](std::size_t link) {
        for (const int other : users[link])
          good =
              good && exclusive(communicators, communicator, communicators.all[std::size_t(other)]);
      });
    result.push_back(good);
  }
  return result;
}

// Adds a collective to a merged block: what the simulation of its steps takes on links that nobody
// else uses, and what they carry.
Seconds run_alone(const CollectiveCost& cost, const Layout& layout, MergedBlock& block) {
  Seconds time;
  const auto& paths = layout.channel_of(cost.communicator).path_of_phase;
  for (std::size_t i = 0; i < cost.steps.size(); ++i) {
    const CollectiveStep& step = cost.steps[i];
    const auto& uses = layout.wiring.paths[std::size_t(paths[i])];
    time += step.latency;
    if (step.bytes.value > 0)
      time += step.bytes / lone_rate(uses, layout.wiring.capacities, step.limit);
    block.carried.emplace_back(paths[i], step.bytes);
  }
  return time;
}

void merge_equal_paths(std::vector<std::pair<int, Bytes>>& carried) {
  std::map<int, Bytes> sums;
  for (const auto& [path, bytes] : carried) sums[path] += bytes;
  carried.assign(sums.begin(), sums.end());
}

std::optional<MergedBlock> merge(const std::vector<Segment>& segments, int rank,
                                 const Communicators& communicators, const Layout& layout,
                                 const std::vector<bool>& mergeable, const Host& host) {
  MergedBlock block;
  for (const Segment& segment : segments) {
    Seconds collective;
    double share = 0;
    if (segment.use >= 0) {
      const CollectiveCost& cost = communicators.cost(rank, segment.use);
      if (cost.communicator >= 0) {
        if (!mergeable[std::size_t(cost.communicator)]) return std::nullopt;
        collective = run_alone(cost, layout, block);
        share = cost.compute_share;
      }
    }
    const Seconds compute = beside(segment.compute, collective, share);
    const Seconds exposed = std::max(Seconds(0), collective - compute);
    block.total += compute + exposed;
    block.collectives.push_back({collective, share});
    block.communication += exposed;
    block.recompute += segment.recompute;
  }
  merge_equal_paths(block.carried);
  if (host.sets()) block.segments = &segments;
  return block;
}

// Blocks lowered once for each kind of GPU and slowdown.
class LoweredBlocks {
 public:
  LoweredBlocks(const Plan& plan, const Cluster& cluster, const Conditions& conditions,
                const Communicators& communicators)
      : plan_(plan), cluster_(cluster), conditions_(conditions), communicators_(communicators) {}

  const std::vector<Segment>& at(const Layout::Rank& rank, int block) {
    const int node = cluster_.gpus[std::size_t(rank.rank)].node;
    const int type = cluster_.spec.type_of_node[std::size_t(node)];
    const auto [found, is_new] = known_.try_emplace({block, type, rank.slowdown});
    if (is_new)
      found->second =
          lower(plan_.blocks[std::size_t(block)], plan_.type, cluster_.gpu_spec(rank.rank),
                rank.slowdown, conditions_.host, conditions_.measured, communicators_);
    return found->second;
  }

 private:
  const Plan& plan_;
  const Cluster& cluster_;
  const Conditions& conditions_;
  const Communicators& communicators_;
  std::map<std::tuple<int, int, double>, std::vector<Segment>> known_;
};

std::set<int> blocks_of(const Program& program) {
  std::set<int> blocks;
  for (const Op& op : program.ops)
    if (op.kind == OpKind::Compute) blocks.insert(op.block);
  return blocks;
}

// By path: what a byte of its flow puts on all links of each class, those included that are
// represented.
std::vector<BytesByClass> class_shares(const Cluster& cluster, const Layout& layout) {
  std::vector<BytesByClass> shares;
  for (const std::vector<LinkUse>& uses : layout.wiring.paths) {
    BytesByClass& share = shares.emplace_back();
    for (const LinkUse& use : uses) {
      const Layout::SimulatedLink& link = layout.links[std::size_t(use.link)];
      share[std::size_t(cluster.links[std::size_t(link.link)].kind)] +=
          use.times * link.scale * link.represented;
    }
  }
  return shares;
}

// From simulated links to the cluster's; what carried nothing is left out.
void name_links(const Cluster& cluster, const Layout& layout, Trace& trace) {
  for (std::size_t i = 0; i < trace.links.size(); ++i) {
    const Layout::SimulatedLink& link = layout.links[i];
    const Link& real = cluster.links[std::size_t(link.link)];
    trace.links[i] = {link.link, link.represented, trace.links[i].bytes * link.scale};
    if (trace.links[i].bytes.value > 0)
      trace.activity[std::size_t(real.kind)].capacity += real.bandwidth * link.represented;
  }
  std::erase_if(trace.links, [](const LinkLoad& load) { return load.bytes.value == 0; });
  std::sort(trace.links.begin(), trace.links.end(),
            [](const LinkLoad& a, const LinkLoad& b) { return a.link < b.link; });
  std::erase_if(trace.activity,
                [](const ClassActivity& activity) { return activity.capacity.value == 0; });
}

}  // namespace

Trace simulate(const Plan& plan, const Cluster& cluster, const Conditions& conditions) {
  const Communicators communicators(plan, cluster, conditions.measured);
  const std::vector<double> slowdown = slowdowns(plan, cluster, conditions);
  // Noise makes every rank and every kernel different: nothing is alike.
  const bool noisy = conditions.noise && conditions.noise->amplitude > 0;
  const Fidelity fidelity =
      noisy ? std::max(conditions.fidelity, Fidelity::Full) : conditions.fidelity;
  const bool merges = fidelity == Fidelity::Folded || fidelity == Fidelity::Stage;
  Partition alike = merges ? fold(plan, cluster, communicators, slowdown)
                           : unfolded(plan, cluster, communicators);
  const std::vector<bool> mergeable = merges ? private_lockstep(cluster, communicators, alike)
                                             : std::vector<bool>(communicators.all.size(), false);
  if (fidelity == Fidelity::Stage) alike = unfolded(plan, cluster, communicators);
  const Wires wires = fidelity == Fidelity::Rounds                        ? Wires::Edges
                      : conditions.network == NetworkKind::ContentionFree ? Wires::Alone
                                                                          : Wires::Shared;
  const Layout layout = lay_out(plan, cluster, communicators, alike, slowdown, wires);

  LoweredBlocks lowered(plan, cluster, conditions, communicators);
  MachineInput input{.plan = plan,
                     .communication = cluster.spec.communication,
                     .communicators = communicators,
                     .layout = layout,
                     .blocks = {},
                     .class_share = class_shares(cluster, layout),
                     .rounds = fidelity == Fidelity::Rounds,
                     .noise = conditions.noise,
                     .collective_issue = conditions.host.collective,
                     .on_progress = conditions.on_progress};
  for (const Layout::Rank& rank : layout.ranks) {
    std::vector<RunnableBlock>& blocks = input.blocks.emplace_back(plan.blocks.size());
    for (const int block : blocks_of(plan.programs[std::size_t(rank.program)])) {
      const std::vector<Segment>& segments = lowered.at(rank, block);
      blocks[std::size_t(block)].segments = &segments;
      if (merges)
        blocks[std::size_t(block)].merged =
            merge(segments, rank.rank, communicators, layout, mergeable, conditions.host);
    }
  }
  const auto network = conditions.network == NetworkKind::SimGrid
                           ? make_simgrid_network(layout.wiring)
                           : make_contention_free_network(layout.wiring);
  Trace trace = run_machine(input, *network);
  name_links(cluster, layout, trace);
  return trace;
}

}  // namespace windtunnel

#include "engine/simulate.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/check.hpp"
#include "engine/communicators.hpp"
#include "engine/fold.hpp"
#include "engine/layout.hpp"
#include "engine/lower.hpp"
#include "engine/machine.hpp"
#include "engine/network.hpp"
#include "engine/quiet_part.hpp"

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

// Of collectives inside layers; the others' are ops by themselves.
bool is_layer_group(GroupName name) {
  return name == GroupKind::Tensor || name == GroupKind::Context || name == GroupKind::Expert ||
         name == GroupKind::ExpertTensor;
}

bool is_quiet(const Communicators& communicators, const Communicator& communicator) {
  const auto& type = communicators.types[std::size_t(communicator.type)];
  return type.pair || is_layer_group(type.group);
}

// When a communicator's collectives can be part of one merged span: when nobody else uses its links
// at the same time, and its members do the same at the same time. In the quiet part of a step all
// ranks of a program do, and collectives that are ops by themselves use no link.
enum class Merges { Never, InQuietPart, Always };

std::vector<Merges> merges_of(const Cluster& cluster, const Communicators& communicators,
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
  const auto class_of = [&](int rank) { return alike.rank_class[std::size_t(rank)]; };
  std::vector<Merges> result;
  for (const Communicator& communicator : communicators.all) {
    const auto& type = communicators.types[std::size_t(communicator.type)];
    Merges merges = Merges::Always;
    if (type.pair || !is_layer_group(type.group)) merges = Merges::Never;
    for (const int member : communicator.members)
      if (class_of(member) != class_of(communicator.members.front()))
        merges = std::min(merges, Merges::InQuietPart);
    if (merges != Merges::Never)
      for_links(communicator, [&](std::size_t link) {
        for (const int index : users[link]) {
          const Communicator& other = communicators.all[std::size_t(index)];
          if (!exclusive(communicators, communicator, other))
            merges = std::min(merges,
                              is_quiet(communicators, other) ? Merges::Never : Merges::InQuietPart);
        }
      });
    result.push_back(merges);
  }
  return result;
}

// Adds a collective to a merged block of a simulated rank: what the simulation of its steps takes
// on links that nobody else uses, and what they carry, which its first member counts.
Seconds run_alone(const CollectiveCost& cost, const Layout& layout, int rank, MergedBlock& block) {
  Seconds time;
  const Layout::Channel& channel = layout.channel_of(cost.communicator);
  const auto& paths = channel.path_of_phase;
  block.has_collectives = true;
  for (std::size_t i = 0; i < cost.steps.size(); ++i) {
    const CollectiveStep& step = cost.steps[i];
    const auto& uses = layout.wiring.paths[std::size_t(paths[i])];
    time += step.latency;
    if (step.bytes.value > 0)
      time += step.bytes / lone_rate(uses, layout.wiring.capacities, step.limit);
    if (rank == channel.members.front()) block.carried.emplace_back(paths[i], step.bytes);
  }
  return time;
}

// By program of the plan; nowhere if ranks of a program differ in it.
std::vector<int> quiet_parts(const Plan& plan, const Cluster& cluster,
                             const Communicators& communicators,
                             const std::vector<double>& slowdown) {
  std::vector<bool> used;
  for (const Communicator& communicator : communicators.all)
    used.push_back(is_quiet(communicators, communicator));
  const Partition alike = fold(plan, cluster, communicators, slowdown, used);
  if (alike.rank_classes == int(plan.programs.size())) return quiet_until(plan);
  return std::vector<int>(plan.programs.size(), -1);
}

void merge_equal_paths(std::vector<std::pair<int, Bytes>>& carried) {
  std::map<int, Bytes> sums;
  for (const auto& [path, bytes] : carried) sums[path] += bytes;
  carried.assign(sums.begin(), sums.end());
}

std::optional<MergedBlock> merge(const std::vector<Segment>& segments, int rank,
                                 const Communicators& communicators, const Layout& layout,
                                 const std::vector<Merges>& merges, const Host& host) {
  MergedBlock block;
  Seconds memory;
  for (const Segment& segment : segments) {
    memory += segment.memory;
    Seconds collective;
    double share = 0;
    if (segment.use >= 0) {
      const CollectiveCost& cost =
          communicators.cost(layout.ranks[std::size_t(rank)].rank, segment.use);
      if (cost.communicator >= 0) {
        const Merges when = merges[std::size_t(cost.communicator)];
        if (when == Merges::Never) return std::nullopt;
        block.only_quiet = block.only_quiet || when == Merges::InQuietPart;
        collective = run_alone(cost, layout, rank, block);
        share = cost.compute_share.of(segment.memory_part());
      }
    }
    const Seconds compute = beside(segment.compute, collective, share);
    const Seconds exposed = std::max(Seconds(0), collective - compute);
    block.total += compute + exposed;
    block.collectives.push_back({collective, share});
    block.communication += exposed;
    block.recompute += segment.recompute;
  }
  if (block.total.value > 0) block.memory_part = memory / block.total;
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
      found->second = lower(plan_.blocks[std::size_t(block)], plan_.type,
                            cluster_.gpu_spec(rank.rank), rank.slowdown, plan_.overlaps_experts,
                            conditions_.host, conditions_.measured, communicators_);
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
  const std::vector<bool> all(communicators.all.size(), true);
  Partition alike = merges ? fold(plan, cluster, communicators, slowdown, all)
                           : unfolded(plan, cluster, communicators);
  std::vector<Merges> when;
  if (merges) when = merges_of(cluster, communicators, alike);
  std::vector<int> quiet(plan.programs.size(), -1);
  if (std::count(when.begin(), when.end(), Merges::InQuietPart) > 0)
    quiet = quiet_parts(plan, cluster, communicators, slowdown);
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
                     .quiet_until = std::move(quiet),
                     .rounds = fidelity == Fidelity::Rounds,
                     .noise = conditions.noise,
                     .collective_issue = conditions.host.collective,
                     .on_progress = conditions.on_progress};
  for (int i = 0; i < int(layout.ranks.size()); ++i) {
    const Layout::Rank& rank = layout.ranks[std::size_t(i)];
    std::vector<RunnableBlock>& blocks = input.blocks.emplace_back(plan.blocks.size());
    for (const int block : blocks_of(plan.programs[std::size_t(rank.program)])) {
      const std::vector<Segment>& segments = lowered.at(rank, block);
      blocks[std::size_t(block)].segments = &segments;
      if (merges)
        blocks[std::size_t(block)].merged =
            merge(segments, i, communicators, layout, when, conditions.host);
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

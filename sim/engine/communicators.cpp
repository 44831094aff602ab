#include "engine/communicators.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <unordered_map>

#include "base/check.hpp"
#include "collectives/gloo_model.hpp"
#include "collectives/nccl_measured.hpp"

namespace windtunnel {

Communicators::Communicators(const Plan& plan, const Cluster& cluster,
                             const MeasuredTimes& measured)
    : plan_(plan), cluster_(cluster), measured_(measured) {
  SIM_CHECK(plan.grid.size() <= int(cluster.gpus.size()), "fewer GPUs than ranks");
  collect_uses();
  std::set<GroupName> names;
  for (const CollectiveUse& use : uses) names.insert(use.group);
  for (const GroupName& name : names) lay_groups(name);
  lay_pairs();
}

void Communicators::collect_uses() {
  std::set<CollectiveUse> distinct;
  for (const Program& program : plan_.programs)
    for (const Op& op : program.ops)
      if (op.kind == OpKind::Collective) {
        distinct.insert({op.group, op.collective, op.bytes});
        if (op.stream != Stream::Compute) beside_compute_[std::size_t(op.group.kind)] = true;
      }
  for (const Block& block : plan_.blocks)
    for (const BlockPiece& piece : block)
      if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what))
        distinct.insert(use_of(*collective));
  for (const CollectiveUse& use : distinct) {
    use_index_[use] = int(uses.size());
    uses.push_back(use);
  }
}

int Communicators::use_index(const CollectiveUse& use) const {
  const auto found = use_index_.find(use);
  SIM_CHECK(found != use_index_.end(), "a collective that the plan does not have");
  return found->second;
}

// Every group of this name, each once, with the cost of every use on it.
void Communicators::lay_groups(GroupName name) {
  std::vector<int> used;
  for (int use = 0; use < int(uses.size()); ++use)
    if (uses[std::size_t(use)].group == name) used.push_back(use);
  std::vector<int>& group_of = group_of_rank_[name];
  group_of.assign(std::size_t(plan_.grid.size()), -1);
  std::vector<int> ranks(std::size_t(plan_.grid.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  if (name.kind == GroupKind::Listed) ranks = plan_.grid.listed[std::size_t(name.listed)];
  for (const int rank : ranks) {
    if (group_of[std::size_t(rank)] >= 0) continue;
    const std::vector<int> members = plan_.grid.members(name, rank);
    const int group = groups_++;
    for (const int member : members) group_of[std::size_t(member)] = group;
    costs_.emplace_back();
    if (members.size() == 1) continue;
    for (const int use : used) costs_.back()[use] = cost_of(uses[std::size_t(use)], members, group);
  }
}

const CollectiveCost& Communicators::cost(int rank, int use) const {
  static const CollectiveCost nothing;
  const std::vector<int>& group_of = group_of_rank_.at(uses[std::size_t(use)].group);
  const auto& costs = costs_[std::size_t(group_of[std::size_t(rank)])];
  const auto found = costs.find(use);
  return found == costs.end() ? nothing : found->second;
}

int Communicators::pair(int sender, int to_pipeline) const {
  const int found = pair_index_[place_of_pair(sender, to_pipeline)];
  SIM_CHECK(found >= 0, "no such pair");
  return found;
}

std::size_t Communicators::place_of_pair(int sender, int to_pipeline) const {
  return std::size_t(sender) * std::size_t(plan_.grid.pipeline) + std::size_t(to_pipeline);
}

bool Communicators::contains(const Communicator& communicator, int rank) const {
  const GroupName name = types[std::size_t(communicator.type)].group;
  return group_of_rank_.at(name)[std::size_t(rank)] == communicator.group;
}

std::vector<Round> Communicators::rounds(int communicator, Bytes size) const {
  const Communicator& at = all[std::size_t(communicator)];
  const Type& type = types[std::size_t(at.type)];
  if (type.pair) return {};
  return find_collective(type.algorithm)->rounds(type.kind, shape_of(at.members), size);
}

void Communicators::lay_pairs() {
  pair_index_.assign(place_of_pair(plan_.grid.size(), 0), -1);
  std::set<std::pair<int, int>> directed;
  for (const Program& program : plan_.programs)
    for (const Op& op : program.ops)
      if (op.kind == OpKind::Send) directed.insert({program.pipeline, op.peer});
  for (const auto& [from, to] : directed) {
    types.push_back({.pair = true, .from = from, .to = to});
    for (int rank = 0; rank < plan_.grid.size(); ++rank) {
      Coordinates at = plan_.grid.coordinates(rank);
      if (at.pipeline != from) continue;
      at.pipeline = to;
      const std::vector<int> members = {rank, plan_.grid.rank(at)};
      const Phase phase{.edges = {{0, 1}}, .bytes_per_edge = Bytes(1)};
      pair_index_[place_of_pair(rank, to)] = int(all.size());
      all.push_back({int(types.size()) - 1, groups_++, members, {phase_on_links(phase, members)}});
    }
  }
}

// ---- algorithms on links ------------------------------------------------------------------------

Group Communicators::shape_of(const std::vector<int>& members) const {
  Group shape;
  for (const int rank : members)
    shape.node_of_member.push_back(cluster_.gpus[std::size_t(rank)].node);
  if (shape.nodes() > 1) {
    const int nics = cluster_.node_type(shape.node_of_member.front()).nics;
    shape.rails = std::clamp(nics, 1, shape.ranks_per_node());
  }
  return shape;
}

// NCCL's table of network latencies is made for InfiniBand, 4.0 us for a message of the LL128 ring
// (src/graph/tuning.cc). What a fabric takes beyond that is what its plugin tells NCCL as the NIC's
// latency: 75 us on p4d (aws/aws-ofi-nccl, platform-aws.c).
Seconds Communicators::latency_beyond_infiniband() const {
  constexpr double kInfiniBand = 4.0e-6;
  return Seconds(std::max(0.0, cluster_.spec.fabric_parameters.number("latency") - kInfiniBand));
}

// A communicator that uses a part of a node's NICs gets that part of the channels.
NcclGraph Communicators::nccl_graph(const std::vector<int>& members, const Group& shape) const {
  const NodeType& node = cluster_.node_type(shape.node_of_member.front());
  SIM_CHECK(node.nccl.has_value(), "no NCCL graph for node type " + node.name);
  const std::string& arch = cluster_.gpu_spec(members.front()).arch;
  const bool between = shape.nodes() > 1;
  const int channels_between =
      std::max(1, node.nccl->channels_inter * shape.rails / std::max(1, node.nics));
  return {.arch = arch == "volta"       ? NcclArch::Volta
                  : arch == "hopper"    ? NcclArch::Hopper
                  : arch == "blackwell" ? NcclArch::Blackwell
                                        : NcclArch::Ampere,
          .intra = node.interconnect == "nvlink_switch" ? NcclLink::NvLink : NcclLink::Pci,
          .channels = between ? channels_between : node.nccl->channels,
          // NCCL's graph between nodes has one speed for both parts of a channel.
          .channel_intra = between ? node.nccl->channel_inter : node.nccl->channel_intra,
          .channel_inter = node.nccl->channel_inter,
          .amd_cpu = node.nccl->amd_cpu,
          .nvls = node.nccl->nvls,
          .nic_latency = between ? latency_beyond_infiniband() : Seconds(0)};
}

CommunicatorPhase Communicators::phase_on_links(const Phase& phase,
                                                const std::vector<int>& members) const {
  CommunicatorPhase laid{.share = phase.bytes_per_edge.value,
                         .rounds = phase.rounds,
                         .edges = int(phase.edges.size())};
  std::unordered_map<int, int> times;
  for (const Edge& edge : phase.edges) {
    const Route route =
        cluster_.route(members[std::size_t(edge.from)], members[std::size_t(edge.to)]);
    for (const int link : route.links) ++times[link];
    laid.latency = std::max(laid.latency, route.latency);
  }
  for (const auto& [link, count] : times) laid.uses.push_back({link, count});
  std::sort(laid.uses.begin(), laid.uses.end(),
            [](const LinkUse& a, const LinkUse& b) { return a.link < b.link; });
  return laid;
}

int Communicators::find_or_lay(const CollectiveUse& use, const std::string& algorithm,
                               const std::vector<int>& members, const Group& shape, int group) {
  const auto [found, is_new] = laid_.try_emplace({group, algorithm, use.kind}, int(all.size()));
  if (!is_new) return found->second;
  const auto same = [&](const Type& type) {
    return !type.pair && type.group == use.group && type.kind == use.kind &&
           type.algorithm == algorithm;
  };
  auto type = std::find_if(types.begin(), types.end(), same);
  if (type == types.end()) {
    types.push_back({.group = use.group,
                     .kind = use.kind,
                     .algorithm = algorithm,
                     .beside_compute = beside_compute_[std::size_t(use.group.kind)]});
    type = types.end() - 1;
  }
  Communicator communicator{int(type - types.begin()), group, members, {}};
  for (const Phase& phase : find_collective(algorithm)->phases(use.kind, shape, Bytes(1)))
    communicator.phases.push_back(phase_on_links(phase, members));
  all.push_back(std::move(communicator));
  return found->second;
}

namespace {

// Bytes on the wire per byte of data. LL sends 8 bytes with 4 bytes of flag each 4, LL128 8 of each
// 128. Source: NCCL 2.30.7, src/device/prims_ll.h and prims_ll128.h.
double wire_overhead(NcclProtocol protocol) {
  switch (protocol) {
    case NcclProtocol::LL:
      return 2;
    case NcclProtocol::LL128:
      return 128.0 / 120;
    case NcclProtocol::Simple:
      return 1;
  }
  return 1;
}

// Of the copies of a token, the part that is left where each node that needs one gets one.
double sent_once(const TokenRouting& routing, int nodes) {
  return parts_of_token(routing, nodes) / routing.per_token;
}

// On the links of the model's algorithm, and shared there with others, but no faster than measured:
// alone it takes the measured time, if the links allow it.
void take_measured(Seconds time, CollectiveCost& cost) {
  const Seconds each = time / double(cost.steps.size());
  for (CollectiveStep& step : cost.steps)
    step = {Seconds(0), step.bytes, Rate(step.bytes.value / each.value)};
}

}  // namespace

CollectiveCost Communicators::cost_of(const CollectiveUse& use, const std::vector<int>& members,
                                      int group) {
  const Group shape = shape_of(members);
  const CommunicationModel model = cluster_.spec.communication.model;
  const bool by_nccl = model == CommunicationModel::Nccl && use.kind != CollectiveKind::AllToAll;
  const MeasuredCurve* curve =
      measured_.collective(use.group.kind, use.kind, shape.size(), shape.nodes());
  CollectiveCost cost = by_nccl ? cost_by_nccl(use, members, shape, group)
                                : cost_by_links(use, members, shape, group);
  cost.compute_share = compute_share(shape, members);
  if (curve)
    take_measured(curve->at(use.size.value), cost);
  else if (model == CommunicationModel::Gloo)
    add_gloo_latencies(use, cost);
  else if (model == CommunicationModel::Nccl && !by_nccl)
    slow_down(measured_over_model(nccl_graph(members, shape), use.kind, shape.size(), shape.nodes(),
                                  use.size),
              cost);
  if (measured_.slowdown(shape.size(), shape.nodes()) != nullptr) return cost;
  const auto& phases = all[std::size_t(cost.communicator)].phases;
  for (std::size_t i = 0; i < phases.size(); ++i)
    cost.per_member += cost.steps[i].bytes * phases[i].edges / double(members.size());
  return cost;
}

ComputeShare Communicators::compute_share(const Group& shape,
                                          const std::vector<int>& members) const {
  if (const SlowdownBeside* measured = measured_.slowdown(shape.size(), shape.nodes()))
    return {1 - 1 / measured->gemm.value, 1 - 1 / measured->copy.value};
  if (cluster_.spec.communication.model != CommunicationModel::Nccl) return {};
  constexpr double kMost = 0.9;  // a card of few multiprocessors still computes
  const NodeType& node = cluster_.node_type(shape.node_of_member.front());
  const double share = std::min(
      kMost, 2.0 * nccl_graph(members, shape).channels / std::max(1, node.nccl->multiprocessors));
  return {share, share};
}

// A latency for each round, the bytes as the links allow.
CollectiveCost Communicators::cost_by_links(const CollectiveUse& use,
                                            const std::vector<int>& members, const Group& shape,
                                            int group) {
  const Communication& communication = cluster_.spec.communication;
  std::string algorithm = communication.model == CommunicationModel::Nccl ? "pairwise"
                          : communication.model == CommunicationModel::Gloo
                              ? "gloo"
                              : communication.algorithm;
  const CollectiveAlgorithm* row = find_collective(algorithm);
  SIM_CHECK(row != nullptr, "unknown collective algorithm " + algorithm);
  // An algorithm that cannot do this collective leaves it to the ring, or to pairwise exchange.
  if (use.routing.experts > 0 && find_collective("two-level")->supports(use.kind, shape))
    algorithm = "two-level";
  else if (!row->supports(use.kind, shape))
    algorithm = use.kind == CollectiveKind::AllToAll ? "pairwise" : "ring";
  CollectiveCost cost{.communicator = find_or_lay(use, algorithm, members, shape, group)};
  for (const CommunicatorPhase& phase : all[std::size_t(cost.communicator)].phases)
    cost.steps.push_back({phase.latency * phase.rounds, use.size * phase.share, Rate(0)});
  if (algorithm == "two-level" && use.routing.experts > 0 && shape.nodes() > 1)
    cost.steps.front().bytes = sent_once(use.routing, shape.nodes()) * cost.steps.front().bytes;
  return cost;
}

CollectiveStep Communicators::message(int pair, Bytes bytes) const {
  const Communicator& communicator = all[std::size_t(pair)];
  const Seconds latency = communicator.phases.front().latency;
  const MeasuredCurve* curve = measured_.message(shape_of(communicator.members).nodes());
  if (curve == nullptr || bytes.value == 0) return {latency, bytes, Rate(0)};
  return {Seconds(0), bytes, Rate(bytes.value / curve->at(bytes.value).value)};
}

Seconds Communicators::time_on_links(const CommunicatorPhase& phase, Bytes bytes) const {
  Seconds longest;
  for (const LinkUse& link : phase.uses)
    longest =
        std::max(longest, bytes * link.times / cluster_.links[std::size_t(link.link)].bandwidth);
  return longest;
}

// So much longer than the links alone would take.
void Communicators::slow_down(double factor, CollectiveCost& cost) const {
  if (factor == 1) return;
  const auto& phases = all[std::size_t(cost.communicator)].phases;
  for (std::size_t i = 0; i < phases.size(); ++i) {
    CollectiveStep& step = cost.steps[i];
    step.latency = factor * step.latency;
    if (const Seconds lone = time_on_links(phases[i], step.bytes); lone > Seconds(0))
      step.limit = Rate(step.bytes.value / (factor * lone).value);
  }
}

void Communicators::add_gloo_latencies(const CollectiveUse& use, CollectiveCost& cost) const {
  const Communication& communication = cluster_.spec.communication;
  const Communicator& communicator = all[std::size_t(cost.communicator)];
  const std::int64_t segments = gloo_segments(use.kind, int(communicator.members.size()), use.size);
  for (std::size_t i = 0; i < cost.steps.size(); ++i) {
    const CommunicatorPhase& phase = communicator.phases[i];
    cost.steps[i].latency =
        gloo_phase_latency(phase.rounds, segments, phase.latency, communication.segment_latency,
                           time_on_links(phase, cost.steps[i].bytes));
  }
  cost.steps.front().latency += communication.operation_latency;
}

// NCCL's latency is paid once; its bandwidth is the most that an edge's flow gets. Wires see the
// protocol's overhead too.
CollectiveCost Communicators::cost_by_nccl(const CollectiveUse& use,
                                           const std::vector<int>& members, const Group& shape,
                                           int group) {
  const NcclGraph graph = nccl_graph(members, shape);
  const NcclCost nccl =
      measured_cost(nccl_choice(graph, use.kind, shape.size(), shape.nodes(), use.size), graph,
                    use.kind, shape.size(), shape.nodes(), use.size);
  const std::string algorithm = nccl.algorithm == NcclAlgorithm::Ring   ? "ring"
                                : nccl.algorithm == NcclAlgorithm::Tree ? "tree"
                                                                        : "nvls";
  CollectiveCost cost{.communicator = find_or_lay(use, algorithm, members, shape, group)};
  const auto& phases = all[std::size_t(cost.communicator)].phases;
  const Seconds lone = use.size / nccl.algorithm_bandwidth / double(phases.size());
  for (const CommunicatorPhase& phase : phases) {
    const Bytes bytes = use.size * phase.share * wire_overhead(nccl.protocol);
    cost.steps.push_back(
        {nccl.latency / double(phases.size()), bytes, Rate(bytes.value / lone.value)});
  }
  return cost;
}

}  // namespace windtunnel

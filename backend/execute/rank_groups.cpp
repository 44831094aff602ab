#include "backend/execute/rank_groups.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "base/check.hpp"

namespace windtunnel {

namespace {

// Layers without collectives are split as the others are, by tensor and by context.
std::set<std::pair<GroupName, Stream>> collective_groups(const Plan& plan, const Program& program) {
  std::set<std::pair<GroupName, Stream>> groups;
  if (plan.grid.tensor > 1) groups.insert({GroupKind::Tensor, Stream::Compute});
  if (plan.grid.context > 1) groups.insert({GroupKind::Context, Stream::Compute});
  std::set<int> blocks;
  for (const Op& op : program.ops) {
    if (op.kind == OpKind::Collective) groups.insert({op.group, op.stream});
    if (op.kind == OpKind::Compute) blocks.insert(op.block);
  }
  for (const int block : blocks)
    for (const BlockPiece& piece : plan.blocks[std::size_t(block)])
      if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what))
        groups.insert({group_kind(collective->group), Stream::Compute});
  return groups;
}

struct Pair {
  bool sends = false;
  int peer = 0;  // pipeline coordinate
  Purpose purpose = Purpose::Activation;
  auto operator<=>(const Pair&) const = default;
};

std::set<Pair> pairs_of(const Program& program) {
  std::set<Pair> pairs;
  for (const Op& op : program.ops)
    if (op.kind == OpKind::Send || op.kind == OpKind::Receive)
      pairs.insert({op.kind == OpKind::Send, op.peer, op.purpose});
  return pairs;
}

const Program& program_of(const Plan& plan, int rank) {
  return plan.programs[std::size_t(plan.grid.coordinates(rank).pipeline)];
}

}  // namespace

RankGroups::RankGroups(const Plan& plan, int rank, const Maker& make) {
  // By name: every rank makes its groups in the order of all names, so none waits for a member
  // that waits for another group.
  std::map<std::string, std::pair<std::vector<int>, std::unique_ptr<Group>*>> groups;
  for (const auto& use : collective_groups(plan, program_of(plan, rank))) {
    const std::vector<int> members = plan.grid.members(use.first, rank);
    groups[fmt::format("{} {} {}", name_of(kGroupKindNames, use.first.kind),
                       name_of(kStreamNames, use.second), fmt::join(members, "-"))] = {
        members, &collectives_[use]};
  }
  for (const Pair& pair : pairs_of(program_of(plan, rank))) {
    Coordinates at = plan.grid.coordinates(rank);
    at.pipeline = pair.peer;
    const int peer = plan.grid.rank(at);
    const std::vector<int> members = pair.sends ? std::vector{rank, peer} : std::vector{peer, rank};
    groups[fmt::format("pipeline {} {}", name_of(kPurposeNames, pair.purpose),
                       fmt::join(members, "-"))] = {members,
                                                    &pairs_[{pair.sends, pair.peer, pair.purpose}]};
  }
  for (auto& [name, group] : groups) *group.second = make(name, group.first);
}

Group& RankGroups::group(GroupName name, Stream stream) const {
  const auto found = collectives_.find({name, stream});
  SIM_CHECK(found != collectives_.end(), "a group that the program does not use");
  return *found->second;
}

Group* RankGroups::of_layers(LayerGroup group) const {
  const auto found = collectives_.find({group_kind(group), Stream::Compute});
  return found == collectives_.end() ? nullptr : found->second.get();
}

Group& RankGroups::sender(const Op& send) const {
  return *pairs_.at({true, send.peer, send.purpose});
}

Group& RankGroups::receiver(const Op& receive) const {
  return *pairs_.at({false, receive.peer, receive.purpose});
}

}  // namespace windtunnel

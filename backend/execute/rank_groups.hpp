// The groups that one rank's program needs, made in an order that all ranks share.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "backend/comm/group.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// One group for each kind and stream, since one thread at a time uses a group; and one of two
// members for each pipeline neighbour and direction, so that bulk data of one never holds up
// another.
class RankGroups {
 public:
  // Makes the group of these members (ranks in group order, this one among them) under a name that
  // they share and no other group has.
  using Maker = std::function<std::unique_ptr<Group>(const std::string& name,
                                                     const std::vector<int>& members)>;
  RankGroups(const Plan& plan, int rank, const Maker& make);

  Group& group(GroupName name, Stream stream) const;  // of a collective op, or of a block's pieces
  Group* of_layers(LayerGroup group) const;           // null: this rank alone
  Group& sender(const Op& send) const;                // member 0 sends, member 1 receives
  Group& receiver(const Op& receive) const;

 private:
  std::map<std::pair<GroupName, Stream>, std::unique_ptr<Group>> collectives_;
  std::map<std::tuple<bool, int, Purpose>, std::unique_ptr<Group>> pairs_;  // sends, peer, purpose
};

}  // namespace windtunnel

#include "interchange/stuck.hpp"

#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace windtunnel {
namespace {

// Lets everything happen that can, without time.
class Run {
 public:
  explicit Run(const Plan& plan) : plan_(plan) {
    for (int rank = 0; rank < int(plan.programs.size()); ++rank) add(rank);
  }

  std::optional<OpOfRank> first_stuck() {
    for (int rank = 0; rank < int(ranks_.size()); ++rank)
      for (int op = 0; op < int(ranks_[std::size_t(rank)].waits.size()); ++op)
        if (ranks_[std::size_t(rank)].waits[std::size_t(op)] == 0) ready_.push_back({rank, op});
    while (!ready_.empty()) {
      const OpOfRank next = ready_.back();
      ready_.pop_back();
      begin(next);
    }
    for (int rank = 0; rank < int(ranks_.size()); ++rank)
      for (int op = 0; op < int(ranks_[std::size_t(rank)].waits.size()); ++op)
        if (!ranks_[std::size_t(rank)].done[std::size_t(op)]) return OpOfRank{rank, op};
    return std::nullopt;
  }

 private:
  struct Rank {
    std::vector<int> waits;                    // by op
    std::vector<std::vector<int>> dependents;  // by op
    std::vector<bool> done;
    std::vector<int> number;  // by op: the how-manieth collective of its group
  };
  using Message = std::tuple<int, int, int>;  // receiver, sender, number

  void add(int rank) {
    const std::vector<Op>& ops = plan_.programs[std::size_t(rank)].ops;
    Rank& added = ranks_.emplace_back();
    added.waits.resize(ops.size());
    added.dependents.resize(ops.size());
    added.done.resize(ops.size());
    added.number.resize(ops.size());
    std::map<int, int> collectives;  // by listed group
    int compute = -1;
    const auto await = [&](int op, int before) {
      ++added.waits[std::size_t(op)];
      added.dependents[std::size_t(before)].push_back(op);
    };
    for (int i = 0; i < int(ops.size()); ++i) {
      const Op& op = ops[std::size_t(i)];
      for (const int before : op.after) await(i, before);
      if (op.kind == OpKind::Compute) {
        if (compute >= 0) await(i, compute);
        compute = i;
      } else if (op.kind == OpKind::Collective) {
        added.number[std::size_t(i)] = collectives[op.group.listed]++;
      } else if (op.kind == OpKind::Receive) {
        ++added.waits[std::size_t(i)];  // for the message
        receive_[{rank, op.stage, op.micro_batch}] = i;
      }
    }
  }

  void begin(OpOfRank at) {
    const Op& op = plan_.programs[std::size_t(at.rank)].ops[std::size_t(at.op)];
    if (op.kind != OpKind::Collective) {
      finish(at);
      if (op.kind == OpKind::Send)
        release({op.peer, receive_.at({op.peer, op.stage, op.micro_batch})});
      return;
    }
    const int number = ranks_[std::size_t(at.rank)].number[std::size_t(at.op)];
    std::vector<OpOfRank>& joined = joined_[{op.group.listed, number}];
    joined.push_back(at);
    if (joined.size() < plan_.grid.listed[std::size_t(op.group.listed)].size()) return;
    for (const OpOfRank& member : joined) finish(member);
  }

  void finish(OpOfRank at) {
    Rank& rank = ranks_[std::size_t(at.rank)];
    rank.done[std::size_t(at.op)] = true;
    for (const int dependent : rank.dependents[std::size_t(at.op)]) release({at.rank, dependent});
  }

  void release(OpOfRank at) {
    if (--ranks_[std::size_t(at.rank)].waits[std::size_t(at.op)] == 0) ready_.push_back(at);
  }

  const Plan& plan_;
  std::vector<Rank> ranks_;
  std::map<Message, int> receive_;                               // its op
  std::map<std::pair<int, int>, std::vector<OpOfRank>> joined_;  // by group and number
  std::vector<OpOfRank> ready_;
};

}  // namespace

std::optional<OpOfRank> first_stuck(const Plan& plan) {
  return Run(plan).first_stuck();
}

}  // namespace windtunnel

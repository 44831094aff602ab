// A Program by stream, dependence and message: what does not change between the ranks that run it.
#pragma once

#include <array>
#include <limits>
#include <map>
#include <tuple>
#include <vector>

#include "plan/plan.hpp"

namespace windtunnel {

// A message between two pipeline neighbours: its purpose, stage and micro-batch.
using Message = std::tuple<Purpose, int, int>;
inline Message message_of(const Op& op) {
  return {op.purpose, op.stage, op.micro_batch};
}

struct ProgramIndex {
  std::array<std::vector<int>, kStreams> order;  // by stream: ops in program order
  std::vector<int> waits;                        // by op: how many ops it waits for
  std::vector<int> issued_before;  // by op: collectives beside compute since the last compute op
  std::vector<std::vector<int>> dependents;  // by op: ops that wait for it
  std::map<Message, int> sends, receives;    // ops
  // The receives beside compute from one peer in one direction, in program order, which is the
  // order in which compute needs them.
  std::vector<std::vector<int>> queues;
  struct Place {
    int queue = -1;  // -1: not a receive beside compute
    int position = 0;
  };
  std::vector<Place> place_in_queue;  // by op
  // The last compute op that has ended before anything begins on the communication stream.
  int alone_until = std::numeric_limits<int>::max();

  explicit ProgramIndex(const Program& program);
};

// What a simulated rank runs.
struct RankProgram {
  int rank = 0;  // of the plan
  const Program* program = nullptr;
  const ProgramIndex* index = nullptr;
  const Op& op(int op) const { return program->ops[std::size_t(op)]; }
};

}  // namespace windtunnel

#include "engine/quiet_part.hpp"

#include <algorithm>
#include <array>

namespace windtunnel {

namespace {

int last_micro_batch(const Plan& plan) {
  int last = -1;
  for (const Program& program : plan.programs)
    for (const Op& op : program.ops)
      if (op.kind == OpKind::Compute && op.purpose == Purpose::Forward)
        last = std::max(last, op.micro_batch);
  return last;
}

// Of the last micro-batch; -1: there is none.
struct LastPasses {
  int last_forward = -1, first_backward = -1;
};

LastPasses last_passes(const Program& program, int micro_batch) {
  LastPasses passes;
  for (int i = 0; i < int(program.ops.size()); ++i) {
    const Op& op = program.ops[std::size_t(i)];
    if (op.kind != OpKind::Compute || op.micro_batch != micro_batch) continue;
    if (op.purpose == Purpose::Forward)
      passes.last_forward = i;
    else if (passes.first_backward < 0)
      passes.first_backward = i;
  }
  return passes;
}

// The first compute op after which a collective that is an op by itself may begin; -1: at once.
// Streams run in order, so that the first on each decides.
int first_before_collectives(const Program& program) {
  int first = int(program.ops.size()), computed = -1;
  std::array<bool, kStreams> has_begun{};
  for (int i = 0; i < int(program.ops.size()); ++i) {
    const Op& op = program.ops[std::size_t(i)];
    if (op.kind == OpKind::Compute) computed = i;
    if (op.kind != OpKind::Collective || has_begun[std::size_t(op.stream)]) continue;
    has_begun[std::size_t(op.stream)] = op.stream != Stream::Transfers;
    int before = op.stream == Stream::Compute ? computed : -1;
    for (const int other : op.after)
      if (program.ops[std::size_t(other)].kind == OpKind::Compute) before = std::max(before, other);
    first = std::min(first, before);
  }
  return first;
}

}  // namespace

std::vector<int> quiet_until(const Plan& plan) {
  std::vector<int> nowhere(plan.programs.size(), -1);
  const int micro_batch = last_micro_batch(plan);
  std::vector<int> until;
  for (const Program& program : plan.programs) {
    const LastPasses passes = last_passes(program, micro_batch);
    if (passes.last_forward < 0 || passes.first_backward < 0) return nowhere;
    if (first_before_collectives(program) < passes.first_backward) return nowhere;
    until.push_back(passes.last_forward);
  }
  return until;
}

}  // namespace windtunnel

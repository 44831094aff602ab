#include "engine/program_index.hpp"

#include <algorithm>
#include <utility>

namespace windtunnel {

ProgramIndex::ProgramIndex(const Program& program)
    : waits(program.ops.size()),
      issued_before(program.ops.size()),
      dependents(program.ops.size()),
      place_in_queue(program.ops.size()) {
  std::map<std::pair<int, Purpose>, int> queue_of;
  int beside = 0;  // collectives since the last compute op
  for (int i = 0; i < int(program.ops.size()); ++i) {
    const Op& op = program.ops[std::size_t(i)];
    order[std::size_t(op.stream)].push_back(i);
    waits[std::size_t(i)] = int(op.after.size());
    if (op.kind == OpKind::Collective && op.stream != Stream::Compute) ++beside;
    if (op.kind == OpKind::Compute) issued_before[std::size_t(i)] = std::exchange(beside, 0);
    for (const int before : op.after) dependents[std::size_t(before)].push_back(i);
    if (op.kind == OpKind::Send) sends[message_of(op)] = i;
    if (op.kind != OpKind::Receive) continue;
    receives[message_of(op)] = i;
    if (op.stream != Stream::Receive) continue;
    const int queue = queue_of.try_emplace({op.peer, op.purpose}, int(queues.size())).first->second;
    queues.resize(queue_of.size());
    place_in_queue[std::size_t(i)] = {queue, int(queues[std::size_t(queue)].size())};
    queues[std::size_t(queue)].push_back(i);
  }
  const std::vector<int>& communication = order[std::size_t(Stream::Communication)];
  if (communication.empty()) return;
  alone_until = -1;
  for (const int before : program.ops[std::size_t(communication.front())].after)
    if (program.ops[std::size_t(before)].stream == Stream::Compute)
      alone_until = std::max(alone_until, before);
}

}  // namespace windtunnel

#include "engine/rendezvous.hpp"

#include <algorithm>
#include <utility>

namespace windtunnel {

Rendezvous::Rendezvous(const Communicators& communicators, const Layout& layout,
                       const RankGrid& grid, const std::vector<RankProgram>& programs,
                       int receives_ahead)
    : communicators_(communicators),
      layout_(layout),
      grid_(grid),
      programs_(programs),
      receives_ahead_(receives_ahead) {
  for (const RankProgram& program : programs) posted_.emplace_back(program.index->queues.size());
}

std::vector<Rendezvous::PostedSend> Rendezvous::post_first(int rank) {
  std::vector<PostedSend> sends;
  for (int queue = 0; queue < int(posted_[std::size_t(rank)].size()); ++queue)
    post(rank, queue, receives_ahead_, sends);
  return sends;
}

std::vector<Rendezvous::PostedSend> Rendezvous::post_for(int rank, int op) {
  std::vector<PostedSend> sends;
  const RankProgram& program = programs_[std::size_t(rank)];
  for (const int before : program.op(op).after) {
    const auto [queue, position] = program.index->place_in_queue[std::size_t(before)];
    if (queue >= 0) post(rank, queue, position + 1 + receives_ahead_, sends);
  }
  return sends;
}

void Rendezvous::post(int rank, int queue, int count, std::vector<PostedSend>& sends) {
  const std::vector<int>& receives = programs_[std::size_t(rank)].index->queues[std::size_t(queue)];
  int& posted = posted_[std::size_t(rank)][std::size_t(queue)];
  while (posted < std::min(count, int(receives.size())))
    sends.push_back(send_of(rank, receives[std::size_t(posted++)]));
}

Rendezvous::PostedSend Rendezvous::send_of(int receiver, int receive) const {
  const RankProgram& program = programs_[std::size_t(receiver)];
  const Op& op = program.op(receive);
  Coordinates at = grid_.coordinates(program.rank);
  const int pipeline = std::exchange(at.pipeline, op.peer);
  const int communicator = communicators_.pair(grid_.rank(at), pipeline);
  const int sender = layout_.channel_of(communicator).members[0];
  return {sender, programs_[std::size_t(sender)].index->sends.at(message_of(op))};
}

}  // namespace windtunnel

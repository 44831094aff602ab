#include "engine/transfers.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace windtunnel {

Transfers::Transfers(const Communicators& communicators, const Layout& layout,
                     const std::vector<RankProgram>& programs, const CoreTime& core_time,
                     Agenda& agenda, Traffic& traffic)
    : communicators_(communicators),
      layout_(layout),
      programs_(programs),
      core_time_(core_time),
      agenda_(agenda),
      traffic_(traffic) {
  for (const RankProgram& program : programs)
    inboxes_.push_back({std::vector<bool>(program.program->ops.size()), {}});
}

void Transfers::send(int rank, int op) {
  const RankProgram& sender = programs_[std::size_t(rank)];
  const Op& what = sender.op(op);
  const int communicator = communicators_.pair(sender.rank, what.peer);
  const Layout::Channel& channel = layout_.channel_of(communicator);
  const int receiver = channel.members[1];
  const auto& receives = programs_[std::size_t(receiver)].index->receives;
  const auto receive = receives.find(message_of(what));
  SIM_CHECK(receive != receives.end(), "a message that nobody receives");
  const CollectiveStep message = communicators_.message(communicator, what.bytes);
  if (free_.empty()) {
    free_.push_back(int(transfers_.size()));
    transfers_.emplace_back();
  }
  const int slot = free_.back();
  free_.pop_back();
  transfers_[std::size_t(slot)] = {.sender = rank,
                                   .send = op,
                                   .receiver = receiver,
                                   .receive = receive->second,
                                   .path = channel.path_of_phase.front(),
                                   .bytes = what.bytes,
                                   .limit = message.limit,
                                   .flowing = {},
                                   .sender_mark = core_time_.mark(rank),
                                   .receiver_mark = core_time_.mark(receiver)};
  agenda_.after(message.latency, {Event::SendLatency, slot});
}

void Transfers::start_flow(int transfer) {
  Transfer& state = transfers_[std::size_t(transfer)];
  state.flowing = agenda_.now();
  agenda_.flow(state.path, state.bytes, state.limit, {Event::TransferDone, transfer});
}

Transfers::Transfer Transfers::end(int transfer) {
  free_.push_back(transfer);
  const Transfer& ended = transfers_[std::size_t(transfer)];
  traffic_.carry(ended.path, ended.bytes, ended.flowing, agenda_.now());
  inboxes_[std::size_t(ended.receiver)].arrived[std::size_t(ended.receive)] = true;
  return ended;
}

bool Transfers::receive(int rank, int op) {
  Inbox& inbox = inboxes_[std::size_t(rank)];
  if (inbox.arrived[std::size_t(op)]) return true;
  inbox.wanted[op] = agenda_.now();
  return false;
}

std::optional<Seconds> Transfers::receive_start(const Transfer& ended) {
  const Seconds sent = ended.sender_mark.at;
  const RankProgram& receiver = programs_[std::size_t(ended.receiver)];
  if (receiver.op(ended.receive).stream == Stream::Receive) return sent;
  const auto wanted = inboxes_[std::size_t(ended.receiver)].wanted.extract(ended.receive);
  if (wanted.empty()) return std::nullopt;
  return std::max(sent, wanted.mapped());
}

}  // namespace windtunnel

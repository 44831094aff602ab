#include "engine/streams.hpp"

namespace windtunnel {

namespace {

bool is_send_stream(Stream stream) {
  return stream == Stream::SendActivation || stream == Stream::SendGradient;
}

bool runs_one_at_a_time(Stream stream) {
  return stream != Stream::Receive && stream != Stream::Transfers;
}

}  // namespace

Streams::Streams(const RankProgram& program, bool rendezvous)
    : program_(program), waits_(program.index->waits) {
  if (rendezvous)
    for (const auto& [message, send] : program.index->sends)
      if (is_send_stream(program.op(send).stream)) ++waits_[std::size_t(send)];
  for (int op = 0; op < int(waits_.size()); ++op)
    if (waits_[std::size_t(op)] == 0) set_ready(op);
}

bool Streams::is_free(Stream stream) const {
  return runs_one_at_a_time(stream) && !busy_[std::size_t(stream)];
}

int Streams::head(Stream stream) const {
  const std::vector<int>& order = program_.index->order[std::size_t(stream)];
  const std::size_t position = std::size_t(position_[std::size_t(stream)]);
  return position == order.size() ? -1 : order[position];
}

int Streams::start(Stream stream) {
  int op = -1;
  if (is_send_stream(stream)) {
    std::set<int>& ready = ready_[std::size_t(stream)];
    if (!ready.empty()) op = ready.extract(ready.begin()).value();
  } else if (const int first = head(stream); first >= 0 && waits_[std::size_t(first)] == 0) {
    op = first;
  }
  if (op >= 0) busy_[std::size_t(stream)] = true;
  return op;
}

void Streams::end(Stream stream) {
  if (!runs_one_at_a_time(stream)) return;
  busy_[std::size_t(stream)] = false;
  ++position_[std::size_t(stream)];
}

bool Streams::satisfy_one(int op) {
  if (--waits_[std::size_t(op)] > 0) return false;
  set_ready(op);
  return true;
}

void Streams::set_ready(int op) {
  const Stream stream = program_.op(op).stream;
  if (is_send_stream(stream)) ready_[std::size_t(stream)].insert(op);
}

}  // namespace windtunnel

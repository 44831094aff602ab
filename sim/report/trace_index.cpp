#include "report/trace_index.hpp"

#include <algorithm>
#include <array>

#include "base/check.hpp"

namespace windtunnel {

namespace {

// The members of a communicator agree in the other coordinates, so the one with the lowest of its
// own names the group.
int first_member(const RankGrid& grid, GroupKind kind, int rank) {
  Coordinates at = grid.coordinates(rank);
  switch (kind) {
    case GroupKind::Tensor:
      at.tensor = 0;
      break;
    case GroupKind::Data:
      at.data = 0;
      break;
    case GroupKind::Shard:
      at.data -= at.data % grid.shard_ranks;
      break;
    case GroupKind::Replica:
      at.data %= grid.shard_ranks;
      break;
    case GroupKind::Embedding:
      at.pipeline = grid.embedding_ends.front();
      break;
    case GroupKind::Model:
      at.tensor = at.pipeline = 0;
      break;
    case GroupKind::World:
      at = {};
      break;
  }
  return grid.rank(at);
}

// The members of a group run its collectives in the same order, so the n-th of one is the n-th of
// all.
std::vector<int> counts_in_group(const Program& program) {
  std::array<int, kGroupKindNames.size()> seen{};
  std::vector<int> counts(program.ops.size(), 0);
  for (std::size_t i = 0; i < program.ops.size(); ++i)
    if (program.ops[i].kind == OpKind::Collective)
      counts[i] = seen[std::size_t(program.ops[i].group)]++;
  return counts;
}

}  // namespace

TraceIndex::TraceIndex(const Plan& plan, const Trace& trace)
    : plan_(plan), trace_(trace), stand_in_(plan.programs.size(), -1) {
  for (const Program& program : plan.programs) {
    count_in_group_.push_back(counts_in_group(program));
    auto& messages = messages_.emplace_back();
    for (std::size_t i = 0; i < program.ops.size(); ++i)
      if (const Op& op = program.ops[i]; op.kind == OpKind::Send || op.kind == OpKind::Receive)
        messages.emplace(message_of(op.kind, op), int(i));
  }
  for (int i = 0; i < int(trace.ranks.size()); ++i) {
    const RankTrace& rank = trace.ranks[std::size_t(i)];
    index_of_rank_[rank.rank] = i;
    int& stand_in = stand_in_[std::size_t(rank.program)];
    if (stand_in < 0 || rank.represented > trace.ranks[std::size_t(stand_in)].represented)
      stand_in = i;
    auto& spans = span_of_op_.emplace_back(program(i).ops.size(), -1);
    for (std::size_t k = 0; k < rank.spans.size(); ++k) {
      const Span& span = rank.spans[k];
      spans[std::size_t(span.op)] = int(k);
      if (op(i, span).kind != OpKind::Collective) continue;
      const auto [ready, is_first] = last_ready_.try_emplace(collective_of(i, span.op), span.start);
      if (!is_first) ready->second = std::max(ready->second, span.start);
    }
  }
}

const Program& TraceIndex::program(int rank) const {
  return plan_.programs[std::size_t(trace_.ranks[std::size_t(rank)].program)];
}

const Op& TraceIndex::op(int rank, const Span& span) const {
  return program(rank).ops[std::size_t(span.op)];
}

const Span* TraceIndex::span_of(int rank, int op) const {
  const int index = span_of_op_[std::size_t(rank)][std::size_t(op)];
  return index < 0 ? nullptr : &trace_.ranks[std::size_t(rank)].spans[std::size_t(index)];
}

TraceIndex::Message TraceIndex::message_of(OpKind kind, const Op& op) {
  return {kind, op.purpose, op.stage, op.micro_batch};
}

TraceIndex::Collective TraceIndex::collective_of(int rank, int op) const {
  const RankTrace& trace = trace_.ranks[std::size_t(rank)];
  const GroupKind group = program(rank).ops[std::size_t(op)].group;
  return {group, first_member(plan_.grid, group, trace.rank),
          count_in_group_[std::size_t(trace.program)][std::size_t(op)]};
}

// The rank at this pipeline coordinate whose others are those of `beside`, or its stand-in.
int TraceIndex::rank_at(int pipeline, int beside) const {
  Coordinates at = plan_.grid.coordinates(trace_.ranks[std::size_t(beside)].rank);
  at.pipeline = pipeline;
  const auto exact = index_of_rank_.find(plan_.grid.rank(at));
  if (exact != index_of_rank_.end()) return exact->second;
  for (std::size_t i = 0; i < plan_.programs.size(); ++i)
    if (plan_.programs[i].pipeline == pipeline) return stand_in_[i];
  return -1;
}

std::optional<TraceIndex::End> TraceIndex::other_end(int rank, const Op& op) const {
  const int far = rank_at(op.peer, rank);
  if (far < 0) return std::nullopt;
  const OpKind kind = op.kind == OpKind::Send ? OpKind::Receive : OpKind::Send;
  const auto& messages = messages_[std::size_t(trace_.ranks[std::size_t(far)].program)];
  const auto found = messages.find(message_of(kind, op));
  if (found == messages.end()) return std::nullopt;
  const Span* span = span_of(far, found->second);
  if (!span) return std::nullopt;
  return End{far, span};
}

Seconds TraceIndex::began(int rank, const Span& span) const {
  const Op& what = op(rank, span);
  Seconds start = span.start;
  if (what.kind == OpKind::Collective) start = last_ready_.at(collective_of(rank, span.op));
  if (what.kind == OpKind::Receive)
    if (const auto sender = other_end(rank, what)) start = std::max(start, sender->span->start);
  // Clocks of different machines do not agree to the last digit.
  return std::min(start, span.end);
}

}  // namespace windtunnel

#include "report/trace_index.hpp"

namespace windtunnel {

TraceIndex::TraceIndex(const Plan& plan, const Trace& trace)
    : plan_(plan), trace_(trace), stand_in_(plan.programs.size(), -1) {
  for (const Program& program : plan.programs) {
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
    for (std::size_t k = 0; k < rank.spans.size(); ++k)
      spans[std::size_t(rank.spans[k].op)] = int(k);
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

}  // namespace windtunnel

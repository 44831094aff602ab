// Finds in a Trace what belongs together: the span of an op, the two ends of a message.
//
// In a folded trace a rank that is not shown has the rank of its program that stands for most as a
// stand-in.
#pragma once

#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "plan/plan.hpp"
#include "plan/trace.hpp"

namespace windtunnel {

class TraceIndex {
 public:
  // Refers to both while it lives.
  TraceIndex(const Plan& plan, const Trace& trace);

  // `rank` is an index into Trace::ranks in all that follows.
  const RankGrid& grid() const { return plan_.grid; }
  const Program& program(int rank) const;
  const std::vector<Span>& spans(int rank) const { return trace_.ranks[std::size_t(rank)].spans; }
  const Op& op(int rank, const Span& span) const;
  const Span* span_of(int rank, int op) const;  // null if the op left no span

  // The span at the other end of a Send or Receive; nothing if the trace does not show it.
  struct End {
    int rank = -1;
    const Span* span = nullptr;
  };
  std::optional<End> other_end(int rank, const Op& op) const;

 private:
  using Message = std::tuple<OpKind, Purpose, int, int>;  // with stage and micro-batch
  static Message message_of(OpKind kind, const Op& op);
  int rank_at(int pipeline, int beside) const;

  const Plan& plan_;
  const Trace& trace_;
  std::vector<std::map<Message, int>> messages_;  // by program: the op
  std::vector<std::vector<int>> span_of_op_;      // by rank and op: index of the span, or -1
  std::map<int, int> index_of_rank_;
  std::vector<int> stand_in_;  // by program
};

}  // namespace windtunnel

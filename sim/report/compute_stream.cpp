#include "report/compute_stream.hpp"

#include <algorithm>
#include <set>

namespace windtunnel {

namespace {

bool is_micro_batch_work(const Op& op) {
  return op.stream == Stream::Compute && op.kind == OpKind::Compute &&
         op.purpose != Purpose::Optimizer;
}

// One rank and the part of its program that works on micro-batches.
class Sweep {
 public:
  Sweep(const TraceIndex& index, int rank, const std::vector<int>& behind,
        const ComputeStreamVisitor& visitor)
      : index_(index),
        rank_(rank),
        behind_(behind),
        visitor_(visitor),
        ops_(index.program(rank).ops) {
    for (int i = 0; i < int(ops_.size()); ++i) {
      if (!is_micro_batch_work(ops_[std::size_t(i)])) continue;
      if (first_work_ < 0) first_work_ = i;
      last_work_ = i;
    }
  }
  void run(Seconds step_end);

 private:
  std::vector<const Span*> holding_up(int op, Seconds since) const;
  std::vector<const Span*> collectives_after(Seconds since) const;
  void share_out(Seconds begin, Seconds end, int before, std::vector<const Span*> transfers) const;
  IdleCause cause_of_bubble(int before, int awaited) const;
  const Op& op(int index) const { return ops_[std::size_t(index)]; }

  const TraceIndex& index_;
  const int rank_;
  const std::vector<int>& behind_;
  const ComputeStreamVisitor& visitor_;
  const std::vector<Op>& ops_;
  int first_work_ = -1, last_work_ = -1;
};

// The transfers that held up `op` after `since`: those it awaits, those that these await in turn,
// and those ahead of them in their queues. An optimizer that awaits the last gradient bucket waits
// for all buckets before it.
std::vector<const Span*> Sweep::holding_up(int held, Seconds since) const {
  std::vector<const Span*> found;
  std::vector<int> open = op(held).after;
  std::set<int> seen;
  while (!open.empty()) {
    const int next = open.back();
    open.pop_back();
    if (next < 0 || !seen.insert(next).second) continue;
    const Span* span = index_.span_of(rank_, next);
    const Op& awaited = op(next);
    // What an ended op awaited has ended too.
    if (!span || span->end <= since || awaited.stream == Stream::Compute) continue;
    found.push_back(span);
    open.insert(open.end(), awaited.after.begin(), awaited.after.end());
    open.push_back(behind_[std::size_t(next)]);
  }
  return found;
}

std::vector<const Span*> Sweep::collectives_after(Seconds since) const {
  std::vector<const Span*> found;
  for (const Span& span : index_.spans(rank_))
    if (span.end > since && op(span.op).kind == OpKind::Collective) found.push_back(&span);
  return found;
}

IdleCause cause_of_transfer(Purpose purpose) {
  switch (purpose) {
    case Purpose::Activation:
    case Purpose::Gradient:
    case Purpose::Message:
      return IdleCause::PipelineTransfer;
    case Purpose::GradientReduction:
    case Purpose::ParameterGather:
      return IdleCause::DataCommunication;
    default:
      return IdleCause::OtherCommunication;
  }
}

// Whether the members of a group do the same work, so that one that joins late is a straggler.
bool is_of_equals(GroupName group) {
  return group == GroupKind::Tensor || group == GroupKind::Data || group == GroupKind::Shard ||
         group == GroupKind::Replica || group == GroupKind::ExpertData;
}

// Of idle time before the op `before` (-1: the end of the step) in which no transfer runs.
IdleCause Sweep::cause_of_bubble(int before, int awaited) const {
  const bool is_collective = awaited >= 0 && op(awaited).kind == OpKind::Collective;
  if (is_collective && (index_.grid().pipeline == 1 || is_of_equals(op(awaited).group)))
    return IdleCause::LateMember;
  if (before >= 0 && before <= first_work_) return IdleCause::WarmUp;
  if (before < 0 || before > last_work_) return IdleCause::Drain;
  if (awaited < 0) return IdleCause::Unknown;
  return is_collective ? IdleCause::LateMember : IdleCause::LateSender;
}

// Shares the idle time from `begin` to `end` among the transfers that ran in it. Where several ran
// at once, the one that ended last counts: the others alone would have released the stream earlier.
// Time in which none runs waits for the one after it to begin.
void Sweep::share_out(Seconds begin, Seconds end, int before,
                      std::vector<const Span*> transfers) const {
  std::sort(transfers.begin(), transfers.end(), [](const Span* a, const Span* b) {
    return a->end != b->end ? a->end > b->end : a->op < b->op;
  });
  Seconds unexplained = end;  // all after it is shared out
  // A blocking transfer on the stream itself waits for its sender or its members.
  const bool is_transfer =
      before >= 0 && (op(before).kind == OpKind::Receive || op(before).kind == OpKind::Collective);
  int awaited = is_transfer ? before : -1;
  const auto add_bubble = [&](Seconds from) {
    if (from < unexplained)
      visitor_.idle({from, unexplained, cause_of_bubble(before, awaited), awaited});
  };
  for (const Span* transfer : transfers) {
    const Seconds from = std::max(transfer->start, begin);
    const Seconds to = std::min(transfer->end, unexplained);
    if (to <= from) {
      // It begins when the pause ends or later: the pause is the wait for it.
      if (awaited < 0) awaited = transfer->op;
      continue;
    }
    add_bubble(to);
    awaited = transfer->op;
    visitor_.idle({from, to, cause_of_transfer(op(awaited).purpose), awaited});
    unexplained = from;
  }
  add_bubble(begin);
}

void Sweep::run(Seconds step_end) {
  Seconds now;
  for (int i = 0; i < int(ops_.size()); ++i) {
    const Span* span = index_.span_of(rank_, i);
    if (op(i).stream != Stream::Compute || !span) continue;
    if (span->start > now) share_out(now, span->start, i, holding_up(i, now));
    const Seconds from = std::max(span->start, now);
    now = std::max(span->end, from);
    visitor_.busy(op(i), *span, now - from);
  }
  if (step_end > now) share_out(now, step_end, -1, collectives_after(now));
}

}  // namespace

std::vector<int> queued_behind(const Program& program) {
  std::vector<int> behind(program.ops.size(), -1);
  std::array<int, kStreams> last;
  last.fill(-1);
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Stream stream = program.ops[i].stream;
    if (stream == Stream::Receive || stream == Stream::Transfers) continue;
    behind[i] = last[std::size_t(stream)];
    last[std::size_t(stream)] = int(i);
  }
  return behind;
}

void sweep_compute_stream(const TraceIndex& index, int rank, const std::vector<int>& behind,
                          Seconds step_end, const ComputeStreamVisitor& visitor) {
  Sweep(index, rank, behind, visitor).run(step_end);
}

std::vector<Idle> pauses(const TraceIndex& index, int rank, const std::vector<int>& behind,
                         Seconds step_end) {
  std::vector<Idle> found;
  sweep_compute_stream(index, rank, behind, step_end,
                       {[&found](const Idle& pause) { found.push_back(pause); },
                        [](const Op&, const Span&, Seconds) {}});
  std::sort(found.begin(), found.end(),
            [](const Idle& a, const Idle& b) { return a.begin < b.begin; });
  return found;
}

}  // namespace windtunnel

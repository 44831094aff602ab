#include "report/critical_path.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "report/compute_stream.hpp"

namespace windtunnel {

namespace {

class Search {
 public:
  Search(const Plan& plan, const Trace& trace, const TraceIndex& index)
      : plan_(plan), trace_(trace), index_(index) {
    for (const Program& program : plan.programs) {
      behind_.push_back(queued_behind(program));
      collectives_.push_back(collectives_of(program));
    }
    for (int i = 0; i < int(trace.ranks.size()); ++i) {
      index_of_rank_[trace.ranks[std::size_t(i)].rank] = i;
      ranks_at_[index.program(i).pipeline].push_back(i);
    }
  }
  SpanRef awaited(int rank, const Span& span);

 private:
  // The ops of a kind of collective in one kind of group, in the order of the program: the third of
  // one member is the third of all.
  using CollectiveName = std::tuple<GroupName, CollectiveKind>;
  struct Collectives {
    std::map<CollectiveName, std::vector<int>> ops;
    std::map<int, int> position;  // of an op in its list
  };
  static Collectives collectives_of(const Program& program);

  std::size_t program_of(int rank) const {
    return std::size_t(trace_.ranks[std::size_t(rank)].program);
  }
  const Span& span(SpanRef ref) const { return index_.spans(ref.rank)[std::size_t(ref.span)]; }
  SpanRef ref_of(int rank, const Span* span) const {
    return {rank, int(span - index_.spans(rank).data())};
  }
  SpanRef last_of_own(int rank, int op) const;
  struct Members {
    std::vector<int> ranks;  // indices into the trace's
    bool complete = true;    // the trace shows all of them
  };
  const Members& members(GroupName group, int rank);
  int same_collective(int op, int rank, int member) const;
  SpanRef last_of_members(int rank, const Span& collective);

  const Plan& plan_;
  const Trace& trace_;
  const TraceIndex& index_;
  std::vector<std::vector<int>> behind_;  // by program
  std::vector<Collectives> collectives_;  // by program
  std::map<int, int> index_of_rank_;
  std::map<int, std::vector<int>> ranks_at_;  // by pipeline coordinate
  std::map<std::pair<GroupName, int>, Members> members_;
  // By group, its first member, program and op: all members waited for the same span.
  std::map<std::tuple<GroupName, int, std::size_t, int>, SpanRef> of_collective_;
};

Search::Collectives Search::collectives_of(const Program& program) {
  Collectives found;
  for (int i = 0; i < int(program.ops.size()); ++i) {
    const Op& op = program.ops[std::size_t(i)];
    if (op.kind != OpKind::Collective) continue;
    std::vector<int>& ops = found.ops[{op.group, op.collective}];
    found.position[i] = int(ops.size());
    ops.push_back(i);
  }
  return found;
}

// Of what an op awaits on its own rank, the span that ended last.
SpanRef Search::last_of_own(int rank, int op) const {
  const std::size_t program = program_of(rank);
  SpanRef last;
  const auto consider = [&](int other) {
    const Span* found = other < 0 ? nullptr : index_.span_of(rank, other);
    if (found && (!last.exists() || found->end > span(last).end)) last = ref_of(rank, found);
  };
  for (const int other : plan_.programs[program].ops[std::size_t(op)].after) consider(other);
  consider(behind_[program][std::size_t(op)]);
  return last;
}

// The ranks of the trace that are in a rank's group. Where a member is not shown, all shown ranks
// of its pipeline coordinate may stand for it.
const Search::Members& Search::members(GroupName group, int rank) {
  // Everybody's world is the same.
  const int key = group == GroupKind::World ? 0 : rank;
  const auto [found, is_new] = members_.try_emplace({group, key});
  if (!is_new) return found->second;
  std::set<int> shown, hidden;  // ranks of the trace; pipeline coordinates
  for (const int member : plan_.grid.members(group, trace_.ranks[std::size_t(rank)].rank)) {
    const auto exact = index_of_rank_.find(member);
    if (exact != index_of_rank_.end())
      shown.insert(exact->second);
    else
      hidden.insert(plan_.grid.coordinates(member).pipeline);
  }
  for (const int pipeline : hidden)
    shown.insert(ranks_at_[pipeline].begin(), ranks_at_[pipeline].end());
  found->second = {{shown.begin(), shown.end()}, hidden.empty()};
  return found->second;
}

// The op by which a member takes part in a collective of a rank, or -1.
int Search::same_collective(int op, int rank, int member) const {
  if (program_of(rank) == program_of(member)) return op;
  const Op& what = index_.program(rank).ops[std::size_t(op)];
  const auto& theirs = collectives_[program_of(member)].ops;
  const auto list = theirs.find({what.group, what.collective});
  const auto position = std::size_t(collectives_[program_of(rank)].position.at(op));
  return list == theirs.end() || position >= list->second.size() ? -1 : list->second[position];
}

SpanRef Search::last_of_members(int rank, const Span& collective) {
  const Op& op = index_.op(rank, collective);
  const Members& group = members(op.group, rank);
  const auto [known, is_new] = of_collective_.try_emplace(
      {op.group, group.complete ? group.ranks.front() : rank, program_of(rank), collective.op});
  if (!is_new) return known->second;
  SpanRef last = last_of_own(rank, collective.op);
  const auto later = [&](SpanRef candidate) {
    // What stands for a hidden member may join later than the member itself did.
    if (!candidate.exists() || span(candidate).end > collective.start) return;
    if (!last.exists() || span(candidate).end > span(last).end) last = candidate;
  };
  for (const int member : group.ranks) {
    if (member == rank) continue;
    const int theirs = same_collective(collective.op, rank, member);
    if (theirs >= 0) later(last_of_own(member, theirs));
  }
  known->second = last;
  return last;
}

SpanRef Search::awaited(int rank, const Span& span_here) {
  const Op& op = index_.op(rank, span_here);
  if (op.kind == OpKind::Collective) return last_of_members(rank, span_here);
  const SpanRef own = last_of_own(rank, span_here.op);
  if (op.kind != OpKind::Receive) return own;
  const auto sender = index_.other_end(rank, op);
  if (!sender || sender->span->start > span_here.end) return own;
  if (own.exists() && span(own).end > sender->span->start) return own;
  return ref_of(sender->rank, sender->span);
}

}  // namespace

AwaitedSpans awaited_spans(const Plan& plan, const Trace& trace, const TraceIndex& index) {
  Search search(plan, trace, index);
  AwaitedSpans awaited;
  for (int rank = 0; rank < int(trace.ranks.size()); ++rank) {
    auto& of_rank = awaited.emplace_back();
    for (const Span& span : trace.ranks[std::size_t(rank)].spans)
      of_rank.push_back(search.awaited(rank, span));
  }
  return awaited;
}

std::vector<SpanRef> critical_path(const Trace& trace, const AwaitedSpans& awaited) {
  SpanRef at;
  Seconds end;
  std::size_t spans = 0;
  for (int rank = 0; rank < int(trace.ranks.size()); ++rank) {
    const std::vector<Span>& list = trace.ranks[std::size_t(rank)].spans;
    spans += list.size();
    for (int i = 0; i < int(list.size()); ++i)
      if (!at.exists() || list[std::size_t(i)].end > end)
        at = {rank, i}, end = list[std::size_t(i)].end;
  }
  std::vector<SpanRef> path;
  // Stand-ins may wait for one another in a circle; a true path visits a span once.
  for (; at.exists() && path.size() < spans;
       at = awaited[std::size_t(at.rank)][std::size_t(at.span)])
    path.push_back(at);
  return path;
}

}  // namespace windtunnel

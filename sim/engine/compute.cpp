#include "engine/compute.hpp"

#include <algorithm>

#include "base/mix.hpp"

namespace windtunnel {

Compute::Compute(const ComputeInput& input, Agenda& agenda, CoreTime& core_time, Traffic& traffic)
    : input_(input),
      agenda_(agenda),
      core_time_(core_time),
      traffic_(traffic),
      kernels_(input.rank, agenda) {}

Compute::Next Compute::begin(int op) {
  op_ = op;
  block_ = &input_.blocks[std::size_t(input_.program.op(op).block)];
  merged_ = is_merged();
  segment_ = 0;
  start_ = agenda_.now();
  communication_ = recompute_ = Seconds(0);
  host_ += input_.program.index->issued_before[std::size_t(op)] * input_.collective_issue;
  core_time_.begin_compute(input_.rank);
  const Seconds copying = core_time_.take_owed(input_.rank);
  if (!merged_) {
    if (copying.value <= 0) return begin_segment();
    agenda_.after(copying, {Event::CopiesDone, input_.rank});
    return Next::Nothing;
  }
  const MergedBlock& merged = *block_->merged;
  recompute_ = merged.recompute;
  communication_ = merged.communication;
  const Seconds begin = agenda_.now() + copying;
  const Seconds total = merged.segments ? walk(merged, begin) : merged.total;
  pending_ = 1;
  for (const auto& [path, bytes] : merged.carried)
    traffic_.carry(path, bytes, begin, begin + total);
  kernels_.start(copying + total, agenda_.now(), merged.memory_part);
  return Next::Nothing;
}

Compute::Next Compute::kernels_done(std::uint32_t timer) {
  if (!kernels_.end(timer)) return Next::Nothing;
  // What a segment takes beyond its kernels is communication.
  if (!merged_) communication_ -= agenda_.now() - segment_start_;
  return part_done();
}

Compute::Next Compute::collective_done(const ComputeShare& share) {
  kernels_.give_share_back(share);
  return part_done();
}

Span Compute::end() {
  core_time_.end_compute(input_.rank);
  return {.op = op_,
          .start = start_,
          .end = agenda_.now(),
          .communication = communication_,
          .recompute = recompute_};
}

// A collective inside a span keeps its time when one beside it slows the kernels down, and so does
// a host that is late, so that such a block runs by segments.
bool Compute::is_merged() const {
  const std::optional<MergedBlock>& merged = block_->merged;
  if (!merged) return false;
  if (merged->only_quiet && op_ > input_.quiet_until) return false;
  const bool is_compute_alone = !merged->has_collectives && !merged->segments;
  return is_compute_alone || op_ <= input_.program.index->alone_until;
}

// What begin_segment to part_done do for each segment, without events.
Seconds Compute::walk(const MergedBlock& merged, Seconds start) {
  Seconds now = start;
  communication_ = Seconds(0);
  for (std::size_t i = 0; i < merged.segments->size(); ++i) {
    const Segment& segment = (*merged.segments)[i];
    const auto [collective, share] = merged.collectives[i];
    const Seconds joined = std::max(now, host_ + input_.collective_issue);
    const Seconds alone = std::min(segment.compute, joined - now);
    const Seconds computed = std::max(
        now + alone + beside(segment.compute - alone, collective, share), host_ + segment.late);
    const Seconds end = segment.use < 0 ? computed : std::max(computed, joined + collective);
    host_ += segment.host;
    communication_ += end - computed;
    now = end;
  }
  return now - start;
}

Compute::Next Compute::begin_segment() {
  segment_start_ = agenda_.now();
  pending_ = 1;  // the kernels; they may take no time
  Seconds compute, issue, issued;
  double memory_part = 0;
  bool has_collective = false;
  if (segment_ < block_->segments->size()) {
    const Segment& segment = (*block_->segments)[segment_];
    const double factor = noise();
    compute = segment.compute * factor;
    issued = host_ + segment.late * factor;
    issue = host_ + input_.collective_issue - agenda_.now();
    host_ += segment.host;
    recompute_ += segment.recompute * factor;
    memory_part = segment.memory_part();
    has_collective = segment.use >= 0;
  }
  kernels_.start(compute, issued, memory_part);
  if (!has_collective) return Next::Nothing;
  ++pending_;
  if (issue.value <= 0) return join();
  agenda_.after(issue, {Event::Issued, input_.rank});
  return Next::Nothing;
}

Compute::Next Compute::join() {
  kernels_.take_share(share_of(use()));
  return Next::Join;
}

Compute::Next Compute::part_done() {
  if (--pending_ > 0) return Next::Nothing;
  if (merged_ || block_->segments->empty()) return Next::End;
  communication_ += agenda_.now() - segment_start_;
  return ++segment_ < block_->segments->size() ? begin_segment() : Next::End;
}

// A uniform factor from the seed, the rank, the op and the segment: the same in every run.
double Compute::noise() const {
  if (!input_.noise || input_.noise->amplitude == 0) return 1;
  std::uint64_t x = 0;
  const auto fold_in = [&x](std::uint64_t value) { x = mix(x + value); };
  fold_in(input_.noise->seed);  // by itself: seed 1 on rank 1 is not seed 2 on rank 0
  fold_in(std::uint64_t(input_.program.rank));
  fold_in(std::uint64_t(op_));
  fold_in(segment_);
  const double uniform = double(x >> 11) * 0x1.0p-53;
  return 1 + input_.noise->amplitude * (2 * uniform - 1);
}

ComputeShare Compute::share_of(int use) const {
  return input_.communicators.cost(input_.program.rank, use).compute_share;
}

}  // namespace windtunnel

#include <algorithm>
#include <cmath>
#include <set>

#include "base/check.hpp"
#include "report/placement.hpp"
#include "report/report.hpp"
#include "report/trace_index.hpp"

namespace windtunnel {

namespace {

// One rank as the sweep over its compute stream sees it.
struct RankView {
  const TraceIndex& index;
  int rank;  // index into the trace's ranks
  const RankTrace& trace;
  const std::vector<int>& queued_behind;  // by op: the op before it on its stream, or -1
  const Op& op(const Span& span) const { return index.op(rank, span); }
};

// What time counts as that an op takes from the compute stream, by occupying it or by holding it
// up.
Seconds& part_of(Breakdown& time, Purpose purpose) {
  switch (purpose) {
    case Purpose::Forward:
      return time.forward;
    case Purpose::Backward:
      return time.backward;
    case Purpose::InputGradient:
      return time.input_gradient;
    case Purpose::WeightGradient:
      return time.weight_gradient;
    case Purpose::Optimizer:
      return time.optimizer;
    case Purpose::Activation:
    case Purpose::Gradient:
      return time.pipeline_transfer;
    case Purpose::GradientReduction:
    case Purpose::ParameterGather:
      return time.data_communication;
    case Purpose::ReplicatedReduction:
    case Purpose::EmbeddingReduction:
    case Purpose::NormReduction:
      return time.other_communication;
  }
  SIM_CHECK(false, "unknown purpose");
  return time.bubble;
}

// Messages overtake one another, so an op of the Receive stream is behind no other.
std::vector<int> queued_behind(const Program& program) {
  std::vector<int> behind(program.ops.size(), -1);
  std::array<int, kStreams> last;
  last.fill(-1);
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Stream stream = program.ops[i].stream;
    if (stream == Stream::Receive) continue;
    behind[i] = last[std::size_t(stream)];
    last[std::size_t(stream)] = int(i);
  }
  return behind;
}

// The transfers that held up `op` after `since`: those it awaits, those that these await in turn,
// and those ahead of them in their queues. An optimizer that awaits the last gradient bucket waits
// for all buckets before it.
std::vector<const Span*> holding_up(const RankView& rank, int op, Seconds since) {
  std::vector<const Span*> found;
  const std::vector<Op>& ops = rank.index.program(rank.rank).ops;
  std::vector<int> open = ops[std::size_t(op)].after;
  std::set<int> seen;
  while (!open.empty()) {
    const int next = open.back();
    open.pop_back();
    if (next < 0 || !seen.insert(next).second) continue;
    const Span* span = rank.index.span_of(rank.rank, next);
    const Op& awaited = ops[std::size_t(next)];
    // What an ended op awaited has ended too.
    if (!span || span->end <= since || awaited.stream == Stream::Compute) continue;
    found.push_back(span);
    open.insert(open.end(), awaited.after.begin(), awaited.after.end());
    open.push_back(rank.queued_behind[std::size_t(next)]);
  }
  return found;
}

std::vector<const Span*> collectives_after(const RankView& rank, Seconds since) {
  std::vector<const Span*> found;
  for (const Span& span : rank.trace.spans)
    if (span.end > since && rank.op(span).kind == OpKind::Collective) found.push_back(&span);
  return found;
}

// Shares the idle time from `begin` to `end` among the transfers that ran in it. Where several ran
// at once, the one that ended last counts: the others alone would have released the stream earlier.
void add_idle(Breakdown& time, const RankView& rank, Seconds begin, Seconds end,
              std::vector<const Span*> transfers) {
  std::sort(transfers.begin(), transfers.end(), [](const Span* a, const Span* b) {
    return a->end != b->end ? a->end > b->end : a->op < b->op;
  });
  Seconds unexplained = end;  // all after it is shared out
  for (const Span* transfer : transfers) {
    const Seconds from = std::max(transfer->start, begin);
    const Seconds to = std::min(transfer->end, unexplained);
    if (to <= from) continue;
    time.bubble += unexplained - to;
    part_of(time, rank.op(*transfer).purpose) += to - from;
    unexplained = from;
  }
  if (unexplained > begin) time.bubble += unexplained - begin;
}

void add_busy(Breakdown& time, const Op& op, const Span& span, Seconds duration) {
  const Seconds communication = std::min(span.communication, duration);
  const Seconds recompute = std::min(span.recompute, duration - communication);
  time.tensor_communication += communication;
  time.recompute += recompute;
  part_of(time, op.purpose) += duration - communication - recompute;
}

struct StreamTime {
  Breakdown time;
  Seconds busy;
};

StreamTime compute_stream_time(const RankView& rank, Seconds step_end) {
  StreamTime result;
  Seconds now;
  const std::vector<Op>& ops = rank.index.program(rank.rank).ops;
  for (int i = 0; i < int(ops.size()); ++i) {
    const Span* span = rank.index.span_of(rank.rank, i);
    if (ops[std::size_t(i)].stream != Stream::Compute || !span) continue;
    if (span->start > now) add_idle(result.time, rank, now, span->start, holding_up(rank, i, now));
    // Measured spans may overlap by the resolution of their clock.
    const Seconds from = std::max(span->start, now);
    now = std::max(span->end, from);
    add_busy(result.time, ops[std::size_t(i)], *span, now - from);
    result.busy += now - from;
  }
  if (step_end > now) add_idle(result.time, rank, now, step_end, collectives_after(rank, now));
  return result;
}

// Sums over all layers for the whole batch.
struct ModelWork {
  Flops model, hardware, causal;
};

// Source: Narayanan et al. 2021, arXiv:2104.04473, equation 3 counts the layers; MFU and HFU as in
// Chowdhery et al. 2022, arXiv:2204.02311, appendix B, and Korthikanti et al. 2022,
// arXiv:2205.05198, section 6.3.
ModelWork work_of_step(const Job& job) {
  ModelWork sum;
  for (int layer = 0; layer < int(job.model.layers.size()); ++layer) {
    const LayerWork work = layer_work(job.model, layer, job.slice());
    const Flops flops = work.forward_flops + work.backward_flops;
    Flops again;  // on one of the t ranks
    for (const Piece& piece : work.recompute)
      if (const Work* kernel = std::get_if<Work>(&piece.what)) again += kernel->flops;
    sum.model += flops;
    sum.hardware += flops + again * job.parallel.tensor;
    sum.causal += flops - work.causal_saving;
  }
  const double micro_batches = double(job.batch.global) / job.batch.micro;
  return {sum.model * micro_batches, sum.hardware * micro_batches, sum.causal * micro_batches};
}

// Nothing if a GPU of the job has no peak for the type.
std::optional<FlopRate> slowest_peak(const Job& job) {
  std::optional<FlopRate> slowest;
  for (const GpuSpec* gpu : gpu_types(job)) {
    const auto& peak = gpu->peak[std::size_t(job.precision.compute)];
    if (!peak) return std::nullopt;
    if (!slowest || *peak < *slowest) slowest = peak;
  }
  return slowest;
}

void set_utilization(Report& report, const Job& job) {
  const ModelWork work = work_of_step(job);
  report.model_flops = work.model;
  report.hardware_flops = work.hardware;
  report.causal_flops = work.causal;
  report.peak = slowest_peak(job);
  // A synthetic model says how long its stages take, not what they compute.
  if (!report.peak || work.model <= Flops(0) || report.step_time <= Seconds(0)) return;
  const auto utilization = [&](Flops flops) {
    return flops / *report.peak / (report.step_time * job.gpus);
  };
  report.mfu = utilization(work.model);
  report.hfu = utilization(work.hardware);
  if (work.causal < work.model) report.mfu_causal = utilization(work.causal);
}

std::optional<Usd> price_of_step(const Job& job, Seconds step_time) {
  if (!job.price) return std::nullopt;
  const auto& rate = job.market == Market::Spot ? job.price->spot : job.price->on_demand;
  if (!rate) return std::nullopt;
  SIM_CHECK(job.price->gpus_per_node > 0, "a price without GPUs per node");
  // Instances are rented whole.
  const int nodes = (job.gpus + job.price->gpus_per_node - 1) / job.price->gpus_per_node;
  return *rate * step_time * nodes;
}

std::optional<Joules> energy_of_step(const Job& job, Seconds step_time) {
  if (!job.cluster.power) return std::nullopt;
  Watts tdp;
  for (const GpuSpec* gpu : gpu_of_rank(job)) {
    if (!gpu->tdp) return std::nullopt;
    tdp += *gpu->tdp;
  }
  return tdp * step_time * (job.cluster.power->utilization * job.cluster.power->pue);
}

void set_cost(Report& report, const Job& job) {
  const bool is_sequence = job.model.family->is_sequence;
  const double per_step = double(job.batch.global) * (is_sequence ? job.batch.sequence : 1);
  report.cost_per_step = price_of_step(job, report.step_time);
  report.energy_per_step = energy_of_step(job, report.step_time);
  if (report.cost_per_step && is_sequence)
    report.cost_per_million_tokens = *report.cost_per_step * 1e6 / per_step;
  if (!job.total_tokens) return;
  const double steps = std::ceil(*job.total_tokens / per_step);
  report.run_time = report.step_time * steps;
  if (report.cost_per_step) report.cost_of_run = *report.cost_per_step * steps;
}

void set_ranks(Report& report, const Job& job, const Plan& plan, const Trace& trace) {
  SIM_CHECK(!trace.ranks.empty(), "a trace without ranks");
  const std::vector<Bytes> capacity = capacity_by_pipeline(job, plan.grid);
  std::vector<std::vector<int>> behind;
  std::vector<MemoryByKind> memory;
  for (const Program& program : plan.programs) {
    behind.push_back(queued_behind(program));
    memory.push_back(peak_memory(program).at_peak);
  }
  const TraceIndex trace_index(plan, trace);
  Seconds busy, all;
  for (int i = 0; i < int(trace.ranks.size()); ++i) {
    const RankTrace& rank = trace.ranks[std::size_t(i)];
    const auto index = std::size_t(rank.program);
    const Program& program = plan.programs[index];
    const RankView view{trace_index, i, rank, behind[index]};
    const StreamTime stream = compute_stream_time(view, trace.end);
    busy += stream.busy * rank.represented;
    all += trace.end * rank.represented;
    report.ranks.push_back({.rank = rank.rank,
                            .represented = rank.represented,
                            .pipeline = program.pipeline,
                            .time = stream.time,
                            .memory = memory[index],
                            .capacity = capacity[std::size_t(program.pipeline)]});
    const Seconds longest = report.ranks[report.critical].time.computing();
    if (stream.time.computing() > longest) report.critical = report.ranks.size() - 1;
  }
  if (all > Seconds(0)) report.bubble_fraction = std::max(0.0, 1 - busy / all);
}

}  // namespace

Report summarize(const Job& job, const Plan& plan, const Trace& trace) {
  Report report{.job = job.name,
                .model = job.model.name,
                .cluster = job.cluster.name,
                .gpus = job.gpus,
                .step_time = trace.end};
  if (trace.end > Seconds(0)) {
    report.samples_per_s = job.batch.global / trace.end.value;
    if (job.model.family->is_sequence)
      report.tokens_per_s = report.samples_per_s * job.batch.sequence;
  }
  set_ranks(report, job, plan, trace);
  set_utilization(report, job);
  set_cost(report, job);
  return report;
}

}  // namespace windtunnel

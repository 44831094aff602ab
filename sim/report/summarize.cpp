#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "report/compute_stream.hpp"
#include "report/placement.hpp"
#include "report/report.hpp"
#include "report/trace_index.hpp"

namespace windtunnel {

namespace {

// Ranks whose computing differs by less compute equally long, but for rounding: the first counts.
constexpr double kSame = 1e-9;

// What time counts as that an op of the compute stream takes.
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
    case Purpose::Kernel:
      return time.kernels;
    case Purpose::Activation:
    case Purpose::Gradient:
    case Purpose::Message:
      return time.pipeline_transfer;
    case Purpose::GradientReduction:
    case Purpose::ParameterGather:
      return time.data_communication;
    case Purpose::ReplicatedReduction:
    case Purpose::EmbeddingReduction:
    case Purpose::NormReduction:
    case Purpose::Collective:
      return time.other_communication;
  }
  SIM_CHECK(false, "unknown purpose");
  return time.bubble;
}

Seconds& part_of(Breakdown& time, IdleCause cause) {
  switch (cause) {
    case IdleCause::PipelineTransfer:
      return time.pipeline_transfer;
    case IdleCause::DataCommunication:
      return time.data_communication;
    case IdleCause::OtherCommunication:
      return time.other_communication;
    default:
      return time.bubble;
  }
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

StreamTime compute_stream_time(const TraceIndex& index, int rank, const std::vector<int>& behind,
                               Seconds step_end) {
  StreamTime result;
  const auto idle = [&result](const Idle& pause) {
    part_of(result.time, pause.cause) += pause.end - pause.begin;
  };
  const auto busy = [&result](const Op& op, const Span& span, Seconds duration) {
    add_busy(result.time, op, span, duration);
    result.busy += duration;
  };
  sweep_compute_stream(index, rank, behind, step_end, {idle, busy});
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
    const LayerWork work = layer_work(job.model, layer, job.slice(layer));
    const Flops flops = work.forward_flops + work.backward_flops;
    Flops again;  // on one of the t x context ranks
    for (const Piece& piece : work.recompute)
      if (const Work* kernel = std::get_if<Work>(&piece.what)) again += kernel->flops;
    sum.model += flops;
    sum.hardware += flops + again * (job.parallel.tensor * job.parallel.context);
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
    const StreamTime stream = compute_stream_time(trace_index, i, behind[index], trace.end);
    busy += stream.busy * rank.represented;
    all += trace.end * rank.represented;
    report.ranks.push_back({.rank = rank.rank,
                            .represented = rank.represented,
                            .pipeline = program.pipeline,
                            .time = stream.time,
                            .memory = memory[index],
                            .capacity = capacity[std::size_t(program.pipeline)]});
    const Seconds longest = report.ranks[report.critical].time.computing();
    if (stream.time.computing() > longest * (1 + kSame)) report.critical = report.ranks.size() - 1;
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

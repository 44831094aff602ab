#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "report/format.hpp"
#include "report/placement.hpp"
#include "report/report.hpp"

namespace windtunnel {

namespace {

constexpr std::size_t kColumns = 100;
constexpr long kBarColumns = 40;

// "label         text", the text's further lines under its first.
void append_line(std::string& out, std::string_view label, std::string_view text) {
  out += fmt::format("{:<13} {}\n", label, text);
}

// The same for a text of any length, broken between words.
void append_paragraph(std::string& out, std::string_view label, std::string_view text) {
  constexpr std::size_t kWidth = kColumns - 14;
  while (text.size() > kWidth) {
    std::size_t end = text.rfind(' ', kWidth);
    if (end == std::string_view::npos) end = std::min(text.find(' ', kWidth), text.size());
    append_line(out, label, text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    label = "";
  }
  if (!text.empty()) append_line(out, label, text);
}

// A share of something as a row of a table with a bar.
void append_row(std::string& out, std::string_view label, std::string_view value, double share) {
  const long bar = std::clamp(std::lround(share * kBarColumns), 0L, kBarColumns);
  out += fmt::format("  {:<21} {:>10} {:>8}  {}", label, value, readable_share(share),
                     std::string(std::size_t(bar), '#'));
  out.erase(out.find_last_not_of(' ') + 1);
  out += "\n";
}

// The parts with commas between them, in lines that break between parts.
std::string joined(const std::vector<std::string>& parts) {
  std::string out, line;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string part = parts[i] + (i + 1 < parts.size() ? "," : "");
    if (!line.empty() && line.size() + 1 + part.size() > kColumns) {
      out += line + "\n";
      line = "  " + part;
    } else {
      line += (line.empty() ? "" : " ") + part;
    }
  }
  return out + line + "\n";
}

std::string gpu_names(const Job& job) {
  std::string names;
  for (const GpuSpec* gpu : gpu_types(job)) names += (names.empty() ? "" : " + ") + gpu->name;
  return names;
}

std::string title_of_recorded(const Report& report, const Job& job) {
  std::size_t nodes = 0;
  for (const Program& program : job.recorded->programs) nodes += program.ops.size();
  return joined({fmt::format("{}: recorded step {} ({} nodes)", report.job, report.model, nodes),
                 fmt::format("{} x {} of {}", report.gpus, gpu_names(job), report.cluster)}) +
         "\n";
}

std::string recomputed_part(const Job& job) {
  if (!job.recompute_layers) return "";
  const int blocks = *job.recompute_layers;
  return fmt::format(" of {} block{} a stage", blocks, blocks > 1 ? "s" : "");
}

std::string title(const Report& report, const Job& job) {
  if (job.recorded) return title_of_recorded(report, job);
  const Parallelism& parallel = job.parallel;
  const bool is_sequence = job.model.family->is_sequence;
  std::string which;
  if (job.model.has_experts())
    which += fmt::format(", {} active", readable_count(double(job.model.active_parameter_count())));
  if (const auto trained = job.model.trained_parameter_count();
      trained != job.model.parameter_count())
    which += fmt::format(", {} trained", readable_count(double(trained)));
  std::vector<std::string> parts = {
      fmt::format("{}: {} ({} parameters{})", report.job, report.model,
                  readable_count(double(job.model.parameter_count())), which),
      fmt::format("{} x {} of {}", report.gpus, gpu_names(job), report.cluster),
      fmt::format("tensor {} x pipeline {} x data {}", parallel.tensor, parallel.pipeline,
                  parallel.data)};
  if (parallel.context > 1)
    parts.push_back(fmt::format("context {} ({})", parallel.context,
                                name_of(kContextParallelNames, parallel.context_parallel)));
  if (job.model.has_experts())
    parts.push_back(fmt::format("expert {} x expert tensor {}, balanced routing", parallel.expert,
                                parallel.ranks_of_expert()));
  if (parallel.expert_dispatch == TokenDispatch::TwoLevel) parts.push_back("two-level dispatch");
  if (parallel.overlap_experts) parts.push_back("exchanges beside another micro-batch");
  if (parallel.sequence_parallel) parts.push_back("sequence parallel");
  if (parallel.zero_stage > 0)
    parts.push_back(fmt::format(
        "ZeRO-{}{}", parallel.zero_stage,
        parallel.shard_ranks > 0 ? fmt::format(" over {} ranks", parallel.shard_ranks) : ""));
  if (parallel.pipeline > 1) parts.push_back("schedule " + job.schedule);
  if (parallel.virtual_stages > 1)
    parts.push_back(fmt::format("{} stages per rank", parallel.virtual_stages));
  std::string samples = fmt::format("{} x {} tokens", job.batch.micro, job.batch.sequence);
  if (const int length = job.batch.attended_length; length > 0)
    samples += fmt::format(", each attending to {}", length);
  const std::string images =
      fmt::format("{} sample{}", job.batch.micro, job.batch.micro > 1 ? "s" : "");
  parts.push_back(fmt::format("{} micro-batch{} of {}", job.micro_batches(),
                              job.micro_batches() > 1 ? "es" : "", is_sequence ? samples : images));
  parts.push_back(name_text(kDTypeNames, job.precision.compute));
  if (job.recompute != Recompute::None)
    parts.push_back(recomputation_text(job.recompute) + " recomputation" + recomputed_part(job));
  return joined(parts) + "\n";
}

void append_standing(std::string& out, const Standing& standing) {
  const StepInterval& interval = standing.interval;
  append_paragraph(out, "interval",
                   interval.runs == 0
                       ? "none: " + interval.of
                       : fmt::format("{} to {}, p10 to p90 of {} {}", readable_time(interval.p10),
                                     readable_time(interval.p90), interval.runs, interval.of));
  if (standing.calibrated == Calibrated::NotNeeded) return;
  append_paragraph(out, "calibrated",
                   standing.outside.empty()
                       ? "inside: kernels as in the card's profile, sizes as published"
                       : fmt::format("outside: {}", fmt::join(standing.outside, "; ")));
}

void append_speed(std::string& out, const Report& report, const Job& job) {
  append_line(out, "step time", readable_time(report.step_time));
  if (report.standing) append_standing(out, *report.standing);
  const std::string samples = readable_count(report.samples_per_s) + " samples/s";
  if (job.recorded) {
    append_line(out, "throughput", readable_count(report.samples_per_s) + " steps/s");
  } else {
    append_line(out, "throughput",
                report.tokens_per_s
                    ? fmt::format("{} tokens/s, {} tokens/s per GPU, {}",
                                  readable_count(*report.tokens_per_s),
                                  readable_count(*report.tokens_per_s / report.gpus), samples)
                    : fmt::format("{}, {} samples/s per GPU", samples,
                                  readable_count(report.samples_per_s / report.gpus)));
  }
  const auto append_share = [&out](std::string_view label, double share, std::string_view what) {
    append_line(out, label, fmt::format("{:>7}  {}", readable_share(share), what));
  };
  const auto append_further = [&out](std::string_view what) {
    append_line(out, "", fmt::format("{:>7}  {}", "", what));
  };
  if (report.mfu) {
    append_line(out, "model FLOP/s",
                readable(report.model_flops.value / report.step_time.value / report.gpus,
                         "FLOP/s per GPU"));
    append_share("MFU", *report.mfu,
                 fmt::format("model FLOPs{}, no recomputation;",
                             report.tokens_per_s ? " with full attention" : ""));
    append_further(fmt::format("peak {} {} dense", readable(report.peak->value, "FLOP/s"),
                               name_of(kDTypeNames, job.precision.compute)));
    append_share("HFU", *report.hfu, "counts also what recomputation runs again");
  }
  if (report.mfu_causal)
    append_share("causal MFU", *report.mfu_causal, "counts only the causal half of attention");
  append_share("bubble", report.bubble_fraction,
               "idle part of all compute streams: 1 - busy time / (ranks x step time);");
  append_further("waiting for communication is idle too");
}

void append_breakdown(std::string& out, const Report& report) {
  const RankSummary& rank = report.ranks[report.critical];
  const std::string alike =
      rank.represented > 1 ? fmt::format(", one of {} alike", rank.represented) : "";
  out += fmt::format("\nstep of rank {} (stage {}{}), which computes longest\n", rank.rank,
                     rank.pipeline, alike);
  for (const BreakdownPart& part : kBreakdownParts) {
    const Seconds time = rank.time.*part.value;
    const double share = report.step_time > Seconds(0) ? time / report.step_time : 0;
    if (share < 1e-6) continue;  // absent, or the rounding of sums of times
    std::string label(part.key);
    std::replace(label.begin(), label.end(), '_', ' ');
    append_row(out, label, readable_time(time), share);
  }
}

void append_memory(std::string& out, const Report& report) {
  const auto fullness = [](const RankSummary& rank) { return total(rank.memory) / rank.capacity; };
  const RankSummary& fullest = *std::max_element(
      report.ranks.begin(), report.ranks.end(),
      [&](const RankSummary& a, const RankSummary& b) { return fullness(a) < fullness(b); });
  out += fmt::format("\nmemory of a GPU of stage {}, the fullest, at its peak; capacity {}\n",
                     fullest.pipeline, readable(fullest.capacity.value, "B"));
  for (std::size_t kind = 0; kind < kMemoryKindNames.size(); ++kind)
    if (fullest.memory[kind] > Bytes(0))
      append_row(out, kMemoryKindNames[kind], readable(fullest.memory[kind].value, "B"),
                 fullest.memory[kind] / fullest.capacity);
  append_row(out, "total", readable(total(fullest.memory).value, "B"), fullness(fullest));
}

void append_cost(std::string& out, const Report& report, const Job& job) {
  std::string lines;
  if (report.cost_per_step) {
    std::string text = readable_usd(*report.cost_per_step) + " per step";
    if (report.cost_per_million_tokens)
      text += ", " + readable_usd(*report.cost_per_million_tokens) + " per million tokens";
    append_line(lines, "cost", text);
    append_line(lines, "",
                fmt::format("{} ({}, {})", job.price->name, name_of(kMarketNames, job.market),
                            job.price->date));
  }
  if (report.run_time) {
    const std::string_view unit = job.model.family->is_sequence ? "tokens" : "samples";
    append_line(lines, "whole run",
                fmt::format("{} {} in {}{}", readable_count(*job.total_tokens), unit,
                            readable_time(*report.run_time),
                            report.cost_of_run ? " for " + readable_usd(*report.cost_of_run) : ""));
  }
  if (report.energy_per_step)
    append_line(lines, "energy",
                fmt::format("{} per step (TDP x {:.4g}, PUE {:.4g})",
                            readable(report.energy_per_step->value, "J"),
                            job.cluster.power->utilization, job.cluster.power->pue));
  if (!lines.empty()) out += "\n" + lines;
}

}  // namespace

std::string to_text(const Report& report, const Job& job) {
  std::string out = title(report, job);
  append_speed(out, report, job);
  append_breakdown(out, report);
  if (!job.recorded) append_memory(out, report);  // a recording does not say what is stored
  append_cost(out, report, job);
  return out;
}

}  // namespace windtunnel

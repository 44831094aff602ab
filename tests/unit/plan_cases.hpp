// Jobs over all schedules, pipeline shapes and ways to be parallel: what must hold in every plan is
// checked on each.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "jobs.hpp"

namespace windtunnel {

struct Variation {
  std::string name;
  std::function<void(Job&)> apply;
};

inline void set_zero(Job& job, int stage) {
  job.parallel.data = 4;
  job.parallel.zero_stage = stage;
  job.data_parallel.no_sync = stage < 2;
}

inline const std::vector<Variation>& variations() {
  static const std::vector<Variation> list = {
      {"alone", [](Job&) {}},
      {"data parallel", [](Job& job) { job.parallel.data = 2; }},
      {"data parallel, reduced each time",
       [](Job& job) {
         job.parallel.data = 2;
         job.data_parallel.no_sync = false;
       }},
      {"data parallel without overlap",
       [](Job& job) {
         job.parallel.data = 2;
         job.data_parallel.overlap = false;
       }},
      {"data parallel without overlap, reduced each time",
       [](Job& job) {
         job.parallel.data = 2;
         job.data_parallel.overlap = job.data_parallel.no_sync = false;
       }},
      {"zero 1", [](Job& job) { set_zero(job, 1); }},
      {"zero 2", [](Job& job) { set_zero(job, 2); }},
      {"zero 2, reduced at the end",
       [](Job& job) {
         set_zero(job, 2);
         job.data_parallel.no_sync = true;
       }},
      {"zero 3", [](Job& job) { set_zero(job, 3); }},
      {"zero 3, reduced at the end",
       [](Job& job) {
         set_zero(job, 3);
         job.data_parallel.no_sync = true;
       }},
      {"zero 3 without overlap",
       [](Job& job) {
         set_zero(job, 3);
         job.data_parallel.overlap = false;
         job.data_parallel.no_sync = true;
       }},
      {"zero 3, last layer gathered again",
       [](Job& job) {
         set_zero(job, 3);
         job.parallel.keep_last_layer = false;
       }},
      {"shard grad op",
       [](Job& job) {
         set_zero(job, 3);
         job.parallel.reshard_after_forward = false;
       }},
      {"hybrid shard",
       [](Job& job) {
         set_zero(job, 3);
         job.parallel.shard_ranks = 2;
       }},
      {"hybrid shard, zero 1",
       [](Job& job) {
         set_zero(job, 1);
         job.parallel.shard_ranks = 2;
       }},
      {"hybrid shard, zero 2",
       [](Job& job) {
         set_zero(job, 2);
         job.parallel.shard_ranks = 2;
       }},
      {"tensor parallel", [](Job& job) { job.parallel.tensor = 2; }},
      {"sequence parallel and data parallel",
       [](Job& job) {
         job.parallel.data = job.parallel.tensor = 2;
         job.parallel.sequence_parallel = true;
       }},
      {"blocking transfers", [](Job& job) { job.pipeline_transfer = PipelineTransfer::Blocking; }},
      {"blocking transfers, zero 3",
       [](Job& job) {
         set_zero(job, 3);
         job.pipeline_transfer = PipelineTransfer::Blocking;
       }},
      {"no clipping",
       [](Job& job) {
         job.parallel.data = 2;
         job.gradient_clipping = false;
       }},
      {"no optimizer",
       [](Job& job) {
         job.parallel.data = 2;
         job.optimizer = OptimizerKind::None;
       }},
      {"full recomputation",
       [](Job& job) {
         job.parallel.data = 2;
         job.recompute = Recompute::Full;
       }},
  };
  return list;
}

inline Model small_gpt(bool tied) {
  return model_of("gpt", {{"hidden", {8}},
                          {"layers", {8}},
                          {"heads", {2}},
                          {"vocab", {32}},
                          {"max_sequence", {8}},
                          {"tied_embeddings", {tied ? 1.0 : 0.0}}});
}

// Parameters in the middle of the pipeline only.
inline Model uneven() {
  return synthetic(8, {.message = 10, .activation = 10, .parameters = {0, 0, 9, 0, 7, 99, 0, 0}});
}

struct PlanCase {
  std::string name;
  Job job;
};

inline void append_cases(const ScheduleFamily& schedule, int p, int m,
                         std::vector<PlanCase>& cases) {
  const int v = schedule.limits(p, m, 1).empty() ? 1 : 2;
  if (!schedule.limits(p, m, v).empty()) return;
  const std::pair<std::string, Model> models[] = {
      {"tied", small_gpt(true)}, {"untied", small_gpt(false)}, {"uneven", uneven()}};
  for (const auto& [model_name, model] : models) {
    if (p != 2 && model_name != "tied") continue;
    for (const Variation& variation : variations()) {
      Job job = job_of(model, {.pipeline = p, .virtual_stages = v}, m);
      job.schedule = schedule.name;
      job.batch.sequence = 8;
      variation.apply(job);
      const bool is_refused = !model.family->slice_limits(model, job.slice()).empty();
      if (is_refused) continue;
      job.batch.global = m * job.parallel.data;
      // A block has 872 parameters in 12 tensors: several buckets a stage, some across layers.
      job.data_parallel.first_bucket = Bytes(300);
      job.data_parallel.bucket = Bytes(1500);
      cases.push_back({std::string(schedule.name) + " p" + std::to_string(p) + " m" +
                           std::to_string(m) + " " + model_name + ", " + variation.name,
                       job});
    }
  }
}

inline const std::vector<PlanCase>& plan_cases() {
  static const std::vector<PlanCase> cases = [] {
    std::vector<PlanCase> list;
    for (const ScheduleFamily& schedule : schedule_table())
      for (const auto& [p, m] : {std::pair(1, 2), std::pair(2, 4), std::pair(4, 4)})
        append_cases(schedule, p, m, list);
    return list;
  }();
  return cases;
}

inline bool computes_weight_gradient(const Op& op) {
  return op.purpose == Purpose::Backward || op.purpose == Purpose::WeightGradient;
}
inline bool is_pass(const Op& op) {
  return op.kind == OpKind::Compute && op.purpose != Purpose::Optimizer;
}
inline bool is_data_parallel(const PlanCase& some) {
  return some.job.parallel.data > 1;
}

}  // namespace windtunnel

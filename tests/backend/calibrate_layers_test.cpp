// What the compute-only pass measures of a job: every pass of every layer, whatever they take.
#include "backend/catch.hpp"

#include <ATen/Parallel.h>

#include "backend/calibrate/communication_times.hpp"
#include "backend/calibrate/layer_times.hpp"
#include "backend/calibrate/stand_in_group.hpp"
#include "jobs.hpp"
#include "plan/measured_times.hpp"

using namespace windtunnel;

namespace {

Job small_mlp(const Parallelism& parallel) {
  Job job = job_of(
      model_of("mlp", {{"inputs", {8}}, {"hidden", {12}}, {"layers", {2}}, {"outputs", {4}}}), {});
  job.parallel = parallel;
  job.gpus = parallel.data * parallel.tensor * parallel.pipeline;
  job.batch = {.global = 4 * parallel.data, .micro = 2};
  job.precision = {DType::Fp32, DType::Fp32};
  job.layers_per_stage = split_layers(job.model, job.stages());
  if (job.layers_per_stage.empty()) job.layers_per_stage = {2, 2};
  return job;
}

ComputeTimes times_of(const std::vector<Job>& jobs) {
  at::set_num_threads(1);  // as calibrate does: more would share the compute thread's core
  Progress progress(false);
  return measure_layers(jobs, make_cpu_device(0, true), progress);
}

void check_passes(const Job& job, const ComputeTimes& times, const std::array<bool, 4>& wanted) {
  for (int layer = 0; layer < int(job.model.layers.size()); ++layer) {
    const LayerIdentity identity = layer_identity(job, layer);
    int found = 0;
    for (const LayerTime& time : times.layers) {
      if (time.identity != identity) continue;
      ++found;
      for (std::size_t pass = 0; pass < wanted.size(); ++pass) {
        CAPTURE(layer, pass);
        CHECK(time.passes[pass].has_value() == wanted[pass]);
        if (time.passes[pass]) CHECK(time.passes[pass]->time.value > 0);
      }
    }
    CHECK(found == 1);
  }
}

}  // namespace

TEST_CASE("layers of a job of one rank") {
  const Job job = small_mlp({});
  const ComputeTimes times = times_of({job});
  check_passes(job, times, {true, true, false, false});
  REQUIRE(times.optimizers.size() == 1);
  CHECK(times.optimizers[0].identity == optimizer_identity(job));
  REQUIRE(times.optimizers[0].update.points.size() == 1);
  CHECK(times.optimizers[0].update.points[0].size == double(job.model.parameter_count()));
  REQUIRE(times.optimizers[0].norm);
}

TEST_CASE("layers of a pipeline that splits backward passes, on two data-parallel ranks each") {
  Job job = small_mlp({.data = 2, .pipeline = 2, .zero_stage = 1});
  job.schedule = "zb-h1";
  job.data_parallel.no_sync = true;
  const ComputeTimes times = times_of({job});
  check_passes(job, times, {true, false, true, true});
  // Half of a stage's parameters each: two stages of different sizes are two points.
  const double first = 8 * 12 + 12 + 12 * 12 + 12, last = 12 * 12 + 12 + 12 * 4 + 4;
  REQUIRE(times.optimizers.size() == 1);
  REQUIRE(times.optimizers[0].update.points.size() == 2);
  CHECK(times.optimizers[0].update.points[0].size == std::min(first, last) / 2);
  CHECK(times.optimizers[0].update.points[1].size == std::max(first, last) / 2);
}

TEST_CASE("layers of ranks that share samples and hold different experts") {
  Job job = job_of(model_of("llama", {{"layers", {2}},
                                      {"hidden", {16}},
                                      {"heads", {4}},
                                      {"ffn", {24}},
                                      {"vocab", {32}},
                                      {"experts", {4}},
                                      {"experts_per_token", {2}}}),
                   {});
  job.parallel = {.data = 2, .tensor = 2, .context = 2, .expert = 2, .sequence_parallel = true};
  job.parallel.zero_stage = 1;
  job.gpus = 8;
  job.attention = AttentionKernel::Flash;
  job.batch = {.global = 4, .micro = 1, .sequence = 8};
  job.precision = {DType::Fp32, DType::Fp32};
  job.layers_per_stage = split_layers(job.model, job.stages());
  for (const auto kind :
       {ContextParallel::Ring, ContextParallel::AllGather, ContextParallel::Ulysses}) {
    job.parallel.context_parallel = kind;
    const ComputeTimes times = times_of({job});
    check_passes(job, times, {true, true, false, false});
    // Shared over 4 ranks, but experts (3 x 16 x 24 each, in 2 blocks) over the 2 that have them.
    const double experts = 2 * 4 * 3 * 16 * 24 / 4.0,
                 all = double(build_plan(job).programs[0].parameters);
    REQUIRE(times.optimizers.size() == 1);
    CHECK(times.optimizers[0].update.points[0].size == (all - experts) / 4 + experts / 2);
  }
}

TEST_CASE("a group that stands in fills what others would have sent") {
  const auto group = make_stand_in_group(1, 3);
  const at::Tensor whole = at::full({6}, 7.0), part = at::arange(2, at::kFloat);
  group->all_gather(whole, part);
  CHECK(whole.equal(at::tensor({0.f, 1.f, 0.f, 1.f, 0.f, 1.f})));
  const at::Tensor own = at::zeros({2});
  group->reduce_scatter(own, at::arange(6, at::kFloat));
  CHECK(own.equal(at::tensor({2.f, 3.f})));
  const at::Tensor rows = at::full({3, 4}, std::nan("")), none = at::empty({0});
  group->all_to_all({rows[0], none, rows[2]}, {none, none, none});
  CHECK(rows.isfinite().sum().item<int>() == 8);
  const at::Tensor message = at::full({1000}, std::nan(""));
  group->receive(message, 0, 0);
  CHECK(message.isfinite().all().item<bool>());
}

TEST_CASE("layers of jobs that differ stand beside one another, alike ones once") {
  const Job plain = small_mlp({}), again = small_mlp({});
  Job larger = small_mlp({});
  larger.batch.micro = 4;
  const ComputeTimes times = times_of({plain, larger, again});
  check_passes(plain, times, {true, true, false, false});
  check_passes(larger, times, {true, true, false, false});
  REQUIRE(times.optimizers.size() == 1);
  CHECK(times.optimizers[0].update.points.size() == 1);
}

// Seven kinds of collectives in groups of 2 and 4 ranks, and messages.
TEST_CASE("all-to-alls are measured for jobs that have some") {
  Job whole = job_of(model_of("llama", {{"layers", {1}},
                                        {"hidden", {16}},
                                        {"heads", {4}},
                                        {"ffn", {24}},
                                        {"vocab", {32}},
                                        {"experts", {4}},
                                        {"experts_per_token", {2}}}),
                     {.data = 4});
  whole.batch.sequence = 8;
  Job spread = whole;
  spread.parallel.expert = 2;
  CHECK(communication_tasks({whole}, 4) == 7 * 2 + 1);
  CHECK(communication_tasks({whole, spread}, 4) == 8 * 2 + 1);
  CHECK(communication_tasks({spread}, 1) == 0);
}

// Exact orders of small plans, and the times that follow from them.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "catch.hpp"
#include "jobs.hpp"
#include "unit/plan_graph.hpp"

namespace windtunnel {
namespace {

Job four_layers(int zero_stage, int micro_batches = 1) {
  return job_of(synthetic(4, {.parameters = {1000}}), {.data = 4, .zero_stage = zero_stage},
                micro_batches);
}

bool is_gather(const Op& op) {
  return is_collective(op, Purpose::ParameterGather);
}
bool is_reduction(const Op& op) {
  return is_collective(op, Purpose::GradientReduction);
}

// "AG2 F1 B3 RS3": the layer that each op before the end of the step is about.
std::string order_of(const Program& program) {
  std::string text;
  for (const Op& op : program.ops) {
    const std::string name = is_gather(op)                     ? "AG"
                             : is_reduction(op)                ? "RS"
                             : op.purpose == Purpose::Forward  ? "F"
                             : op.purpose == Purpose::Backward ? "B"
                                                               : "";
    if (name.empty()) continue;
    text += (text.empty() ? "" : " ") + name + std::to_string(op.first_layer);
  }
  return text;
}

// The compute op that a gather waits for, as text.
std::string limit_of(const Program& program, const Op& gather) {
  REQUIRE(gather.after.size() <= 1);
  if (gather.after.empty()) return "nothing";
  const Op& op = program.ops[std::size_t(gather.after.front())];
  return (op.purpose == Purpose::Forward ? "F" : "B") + std::to_string(op.first_layer);
}

}  // namespace

TEST_CASE("order: FSDP of four layers") {
  // Forward: the gather of layer i + 1 is issued before layer i. Layer 3 stays. Backward: the
  // gather of layer i - 1 is issued before layer i's backward, its reduce-scatter after it.
  const Program program = build_plan(four_layers(3)).programs.front();
  CHECK(order_of(program) == "AG0 AG1 F0 AG2 F1 AG3 F2 F3 AG2 B3 RS3 AG1 B2 RS2 AG0 B1 RS1 B0 RS0");
  // Two units at a time: a gather waits for the layer that has to leave.
  std::vector<std::string> limits;
  for (const Op& op : program.ops)
    if (is_gather(op)) limits.push_back(limit_of(program, op));
  CHECK(limits == std::vector<std::string>{"nothing", "nothing", "F0", "F1", "F3", "B3", "B2"});
}

TEST_CASE("order: FSDP that gathers the last layer again") {
  Job job = four_layers(3);
  job.parallel.keep_last_layer = false;
  const Program program = build_plan(job).programs.front();
  CHECK(order_of(program) ==
        "AG0 AG1 F0 AG2 F1 AG3 F2 F3 AG3 AG2 B3 RS3 AG1 B2 RS2 AG0 B1 RS1 B0 RS0");
}

TEST_CASE("order: SHARD_GRAD_OP gathers in forward only") {
  Job job = four_layers(3);
  job.parallel.reshard_after_forward = false;
  CHECK(order_of(build_plan(job).programs.front()) ==
        "AG0 AG1 F0 AG2 F1 AG3 F2 F3 B3 RS3 B2 RS2 B1 RS1 B0 RS0");
}

namespace {

struct FsdpTimes {
  double forward = 0, backward = 0;
};

// Durations of one layer's gather, forward, backward and reduce-scatter.
FsdpTimes fsdp_times(const Job& job, double gather, double forward, double backward,
                     double scatter) {
  const Program program = build_plan(job).programs.front();
  const std::vector<double> ends = end_times(program, [&](const Op& op) {
    return is_gather(op)                     ? gather
           : is_reduction(op)                ? scatter
           : op.purpose == Purpose::Forward  ? forward
           : op.purpose == Purpose::Backward ? backward
                                             : 0;
  });
  FsdpTimes times;
  for (std::size_t i = 0; i < ends.size(); ++i)
    if (program.ops[i].purpose == Purpose::Forward)
      times.forward = std::max(times.forward, ends[i]);
  times.backward = *std::max_element(ends.begin(), ends.end()) - times.forward;
  return times;
}

}  // namespace

TEST_CASE("order: times of FSDP on four layers") {
  const Job kept = four_layers(3);
  Job gathered = kept;
  gathered.parallel.keep_last_layer = false;
  // AG0 shows, then computing: 1 + 4 * 2. AG-bound: 4 * 3 + 2.
  CHECK(fsdp_times(kept, 1, 2, 4, 1).forward == 9);
  CHECK(fsdp_times(kept, 3, 2, 4, 3).forward == 14);
  // Backward: 4 * 4 and the last RS; one gather more when the last layer was resharded.
  CHECK(fsdp_times(kept, 1, 2, 4, 1).backward == 17);
  CHECK(fsdp_times(gathered, 1, 2, 4, 1).backward == 18);
  // Bound by communication: AG2 0-3 beside B3 0-4, RS3 4-7, AG1 7-10 (B2 4-8), RS2 10-13, AG0 13-16
  // (B1 10-14), RS1 16-19, B0 16-20, RS0 20-23.
  CHECK(fsdp_times(kept, 3, 2, 4, 3).backward == 23);
}

namespace {

// Data parallel over 4 layers in ms: forward 5 a layer, backward 10 a layer, one bucket a layer.
double data_parallel_step(Job job, double bucket_time) {
  job.data_parallel.first_bucket = job.data_parallel.bucket = Bytes(1);
  const Program program = build_plan(job).programs.front();
  const std::vector<double> ends = end_times(program, [&](const Op& op) {
    const int layers = op.end_layer - op.first_layer;
    return is_reduction(op)                  ? bucket_time
           : op.purpose == Purpose::Forward  ? 5.0 * layers
           : op.purpose == Purpose::Backward ? 10.0 * layers
                                             : 0;
  });
  return *std::max_element(ends.begin(), ends.end());
}

}  // namespace

TEST_CASE("order: times of data parallelism on four layers") {
  // A bucket of 25e6 bytes on a ring of 4 at 10 GB/s: 2 * 3/4 * 25e6 / 10e9 = 3.75 ms.
  Job job = four_layers(0);
  CHECK(data_parallel_step(job, 3.75) == 63.75);  // 20 + 40, and the last bucket
  CHECK(data_parallel_step(job, 15) == 90);       // the first is ready at 30, then 4 * 15
  job.data_parallel.overlap = false;
  CHECK(data_parallel_step(job, 3.75) == 75);                    // 60 + 4 * 3.75
  CHECK(data_parallel_step(four_layers(0, 4), 3.75) == 243.75);  // 4 * 60 + 3.75
}

// Sources of the wait: DDP finalize_backward in torch/csrc/distributed/c10d/reducer.cpp, FSDP
// _post_backward_final_callback in torch/distributed/fsdp/_runtime_utils.py.
TEST_CASE("order: DDP waits for its reductions at the end of every backward pass") {
  Job job = four_layers(0, 4);
  job.data_parallel.no_sync = false;
  CHECK(data_parallel_step(job, 3.75) == 255);  // 4 * 63.75
}

TEST_CASE("order: FSDP ends a backward pass before it gathers for the next micro-batch") {
  CHECK(order_of(build_plan(four_layers(3, 2)).programs.front()) ==
        "AG0 AG1 F0 AG2 F1 AG3 F2 F3 AG2 B3 RS3 AG1 B2 RS2 AG0 B1 RS1 B0 RS0 "
        "AG0 AG1 F0 AG2 F1 AG3 F2 F3 AG2 B3 RS3 AG1 B2 RS2 AG0 B1 RS1 B0 RS0");
}

namespace {

const std::filesystem::path kGolden = WINDTUNNEL_SOURCE_DIR "/tests/golden/plan";

// UPDATE_GOLDEN=1 rewrites the file; the change is then reviewed as text.
void check_golden(const std::string& name, const Plan& plan) {
  const std::filesystem::path file = kGolden / (name + ".txt");
  const std::string text = to_text(plan);
  if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(file) << text;
  std::ifstream in(file);
  REQUIRE(in);
  const std::string expected(std::istreambuf_iterator<char>(in), {});
  CHECK(text == expected);
}

}  // namespace

// The files were written by hand from the schedule and the sizes below.
TEST_CASE("order: golden plan of 1F1B with data parallelism") {
  // Layers of 1000 parameters in bf16: weights and gradients 2 kB each, Adam 12 kB; a bucket each.
  const Model model = synthetic(4, {.message = 500, .activation = 3000, .parameters = {1000}});
  Job job = job_of(model, {.data = 2, .pipeline = 2}, 3);
  job.data_parallel.first_bucket = job.data_parallel.bucket = Bytes(2000);
  check_golden("1f1b-data-parallel", build_plan(job));
}

TEST_CASE("order: golden plan of FSDP") {
  // Peak at the backward pass of layer 2: its weights and gradients, 6 kB each, and layer 1's
  // weights, 4 kB, are in buffers.
  const Model model =
      synthetic(3, {.message = 500, .activation = 3000, .parameters = {1000, 2000, 3000}});
  check_golden("fsdp", build_plan(job_of(model, {.data = 2, .zero_stage = 3})));
}

TEST_CASE("order: golden plan of ZB-H1 with blocking transfers") {
  const Model model = synthetic(2, {.message = 500, .activation = 3000, .parameters = {1000}});
  Job job = job_of(model, {.pipeline = 2}, 2);
  job.schedule = "zb-h1";
  job.pipeline_transfer = PipelineTransfer::Blocking;
  job.gradient_clipping = false;
  check_golden("zb-h1-blocking", build_plan(job));
}

}  // namespace windtunnel

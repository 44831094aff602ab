// How far a prediction can be trusted: classes of published runs, in what a job is unlike them, and
// kernels outside their efficiency curves.
#include "report/standing.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "report/report.hpp"
#include "unit/report_example.hpp"

using namespace windtunnel;

namespace {

using Reasons = std::vector<std::string>;

RunClass some_runs(const std::string& card, std::optional<ParallelismKind> kind, int runs,
                   double p10, double p90) {
  RunClass made{.card = card, .parallelism = kind, .runs = runs, .p10 = p10, .p90 = p90};
  made.precisions = {"bf16", "fp16"};
  made.families = {"toy"};
  made.sizes[0] = {8, 3072};       // GPUs
  made.sizes[1] = {1, 8};          // tensor ranks
  made.sizes[3] = {125e6, 530e9};  // parameters
  made.sizes[5] = {1000, 1000};    // tokens of a sample
  return made;
}

// 12 pipeline runs and 3 others on the toy card, 9 runs on another, 24 together.
std::vector<RunClass> classes() {
  return {some_runs("toy_gpu", ParallelismKind::Tensor, 3, 0.5, 3),
          some_runs("toy_gpu", ParallelismKind::Pipeline, 12, 0.9, 1.5),
          some_runs("rare_gpu", ParallelismKind::Pipeline, 9, 0.4, 4),
          some_runs("rare_gpu", std::nullopt, 9, 0.4, 4),
          some_runs("toy_gpu", std::nullopt, 15, 0.8, 1.6),
          some_runs("", std::nullopt, 24, 0.7, 2)};
}

// Every rank of the example runs a matmul and an attention kernel in each compute op: with a peak
// of 1 TFLOP/s at half efficiency, 3 s and 1 s.
Plan plan_with_kernels() {
  Plan plan = example::plan();
  const Work matmul{.op = OpClass::Matmul, .flops = Flops(1.5e12)};
  const Work attention{.op = OpClass::Attention, .flops = Flops(0.5e12)};
  plan.blocks = {{BlockPiece{{"linear", matmul}}, BlockPiece{{"core", attention}}}};
  for (Program& program : plan.programs)
    for (Op& op : program.ops)
      if (op.kind == OpKind::Compute) op.block = 0;
  return plan;
}

// Matmuls are calibrated at 1 to 2 TFLOP, attention from 0.4 TFLOP up to `attention_to`.
Job job_with_curves(double attention_to = 0.6e12) {
  Job job = example::job();
  GpuSpec& gpu = job.cluster.node_types[0].gpu;
  gpu.efficiency[std::size_t(OpClass::Matmul)].points = {{1e12, 0.5}, {2e12, 0.5}};
  gpu.efficiency[std::size_t(OpClass::Attention)].points = {{0.4e12, 0.5}, {attention_to, 0.5}};
  return job;
}

Standing standing_of(const Job& job) {
  return standing(job, plan_with_kernels(), Seconds(10), classes());
}

std::string text_of(const Standing& standing) {
  Report report = summarize(example::job(), example::plan(), example::trace());
  report.standing = standing;
  const std::string text = to_text(report, example::job());
  const std::size_t from = text.find("interval"), to = text.find("throughput");
  REQUIRE(from < to);
  return text.substr(from, to - from);
}

}  // namespace

TEST_CASE("the interval is the step time times the quantiles of the job's class") {
  const Standing found = standing_of(job_with_curves());
  CHECK(found.calibrated == Calibrated::Inside);
  CHECK(found.outside.empty());
  CHECK(found.interval.runs == 12);
  CHECK(found.interval.p10 == Seconds(9));
  CHECK(found.interval.p90 == Seconds(15));
  CHECK(
      text_of(found) ==
      "interval      9 s to 15 s, p10 to p90 of 12 published pipeline-parallel runs on this card\n"
      "calibrated    inside: kernels as in the card's profile, sizes as published\n");
}

TEST_CASE("too few runs of a kind: those of the card; too few on the card: all runs") {
  Job job = job_with_curves();
  job.parallel.pipeline = 1;
  CHECK(text_of(standing_of(job))
            .find("8 s to 16 s, p10 to p90 of 15 published runs on this card"
                  "\n") != std::string::npos);
  job.parallel.tensor = 1;  // no class of that kind at all
  CHECK(standing_of(job).interval.runs == 15);
  job.cluster.node_types[0].gpu.name = "rare_gpu";
  CHECK(text_of(standing_of(job)) ==
        "interval      7 s to 20 s, p10 to p90 of 24 published runs on any card, 9 of them on this "
        "one\n"
        "calibrated    outside: 9 published runs on this card, fewer than 10\n");
}

TEST_CASE("no run on the card: no interval") {
  Job job = job_with_curves();
  job.cluster.node_types[0].gpu.name = "new_gpu";
  CHECK(text_of(standing_of(job)) ==
        "interval      none: no published run on this card\n"
        "calibrated    outside: no published run on this card\n");
  NodeType other = job.cluster.node_types[0];
  other.gpu.name = "toy_gpu";
  job.cluster.node_types.push_back(other);
  job.cluster.type_of_node = {0, 1};
  CHECK(standing_of(job).interval.of == "no published run on such a mix of cards");
  // Two kinds of node with the same card are no mix.
  job.cluster.node_types[0].gpu.name = "toy_gpu";
  CHECK(standing_of(job).interval.runs == 12);
}

TEST_CASE("a job is outside where a number or a name is none that was published") {
  Job job = job_with_curves();
  job.gpus = 4;
  job.precision.compute = DType::Fp8;
  job.batch.sequence = 8192;
  job.cluster.node_types[0].gpu.peak[std::size_t(DType::Fp8)] = FlopRate(1e12);
  CHECK(unlike(run_traits(job), classes()[1]) ==
        Reasons{"fp8 (published: bf16, fp16)", "4 GPUs (published: 8 to 3072)",
                "samples of 8192 tokens (published: 1000)"});
  RunClass others = classes()[1];
  others.families = {"gpt"};
  others.precisions = {"fp8"};
  others.sizes[0] = {1, 4};
  others.sizes[3] = {3e9, 3.5e9};
  others.sizes[5] = std::nullopt;  // runs on images: nothing to compare with
  CHECK(unlike(run_traits(job), others) ==
        Reasons{"model family toy (published: gpt)", "2 B parameters (published: 3 B to 3.5 B)"});
}

TEST_CASE("a job is outside where its kernels are") {
  // Attention, a quarter of the kernel time, in kernels of 0.5 TFLOP.
  CHECK(standing_of(job_with_curves(0.45e12)).outside ==
        Reasons{"25.0 % of kernel time: attention kernels larger than calibrated"});
  Job job = job_with_curves();
  GpuSpec& gpu = job.cluster.node_types[0].gpu;
  gpu.efficiency[std::size_t(OpClass::Attention)].points = {{1, 0.5}};
  gpu.efficiency[std::size_t(OpClass::Matmul)].points = {{1.6e12, 0.5}, {2e12, 0.5}};
  const Standing found = standing_of(job);
  CHECK(found.calibrated == Calibrated::Outside);
  CHECK(
      text_of(found) ==
      "interval      9 s to 15 s, p10 to p90 of 12 published pipeline-parallel runs on this card\n"
      "calibrated    outside: 75.0 % of kernel time: matmul kernels smaller than calibrated; 25.0 "
      "% of\n"
      "              kernel time: attention kernels calibrated at one size\n");
}

TEST_CASE("reasons stay within the width of the report, whatever the names") {
  Job job = job_with_curves(0.45e12);
  NodeType other = job.cluster.node_types[0];
  other.gpu.name = std::string(40, 'x') + " " + std::string(90, 'y');
  job.cluster.node_types.push_back(other);
  job.cluster.type_of_node = {0, 1};
  CHECK(text_of(standing_of(job)) ==
        "interval      none: no published run on such a mix of cards\n"
        "calibrated    outside: no published run on such a mix of cards; 25.0 % of kernel time on "
        "toy_gpu:\n"
        "              attention kernels larger than calibrated; 25.0 % of kernel time on\n"
        "              " +
            std::string(40, 'x') + "\n              " + std::string(90, 'y') +
            ":\n              attention kernels larger than calibrated\n");
}

TEST_CASE("kernels that take next to no time do not put a job outside") {
  Plan plan = plan_with_kernels();
  // 0.01 and 3.99 s, then 0.05 and 3.95 s: 0.25 % and 1.25 %.
  for (const auto& [flops, reasons] : {std::pair(0.005e12, 0), std::pair(0.025e12, 1)}) {
    Work small{.op = OpClass::Attention, .flops = Flops(flops)};
    Work large{.op = OpClass::Matmul, .flops = Flops(2e12 - flops)};
    plan.blocks = {{BlockPiece{{"core", small}}, BlockPiece{{"linear", large}}}};
    CHECK(int(standing(job_with_curves(), plan, Seconds(10), classes()).outside.size()) == reasons);
  }
}

TEST_CASE("a model with times of its own rests on no profile") {
  Plan plan = plan_with_kernels();
  const Work stage{.op = OpClass::Fixed, .duration = Seconds(1)};
  plan.blocks = {{BlockPiece{{"stage", stage}}}};
  const Standing found = standing(job_with_curves(), plan, Seconds(10), classes());
  CHECK(found.calibrated == Calibrated::NotNeeded);
  CHECK(text_of(found) ==
        "interval      none: the model gives its own times, so no published run is like it\n");
}

TEST_CASE("report.json says the same") {
  Report report = summarize(example::job(), example::plan(), example::trace());
  const auto read = [&] { return nlohmann::json::parse(to_json(report, example::job())); };
  CHECK(read().at("interval").is_null());
  CHECK(read().at("calibration").is_null());
  report.standing = standing_of(job_with_curves(0.45e12));
  CHECK(read().at("interval") == nlohmann::json::parse(R"({"p10_s": 9.0, "p90_s": 15.0, "runs": 12,
                                  "of": "published pipeline-parallel runs on this card"})"));
  CHECK(read().at("calibration") == nlohmann::json::parse(R"({"verdict": "outside", "outside":
      ["25.0 % of kernel time: attention kernels larger than calibrated"]})"));
  report.standing->interval = {.of = "no published run on this card"};
  CHECK(read().at("interval") == nlohmann::json::parse(R"({"p10_s": null, "p90_s": null, "runs": 0,
                                  "of": "no published run on this card"})"));
}

TEST_CASE("a measured step says nothing of predictions") {
  const Report report = summarize(example::job(), example::plan(), example::trace());
  CHECK_FALSE(report.standing);
  const std::string text = to_text(report, example::job());
  CHECK(text.find("interval") == std::string::npos);
  CHECK(text.find("calibrated") == std::string::npos);
}

TEST_CASE("classes read back as they were written") {
  CHECK(run_classes_from(to_json(classes())) == classes());
  CHECK(run_classes_from(to_json(std::vector<RunClass>{})).empty());
  CHECK(to_json(std::vector<RunClass>{classes()[1]}) ==
        "{\"made_by\": \"windtunnel validate TABLES --split all --write-intervals FILE\",\n"
        "\"classes\": [\n"
        "{\"card\":\"toy_gpu\",\"parallelism\":\"pipeline\",\"runs\":12,\"p10\":0.9,\"p90\":1.5,"
        "\"precisions\":[\"bf16\",\"fp16\"],\"families\":[\"toy\"],\"gpus\":[8,3072],"
        "\"tensor_ranks\":[1,8],\"parameters\":[125000000,530000000000],"
        "\"sequence_tokens\":[1000,1000]}\n]}\n");
}

TEST_CASE("published classes: every one is sound, and a job like its runs is inside") {
  const std::vector<RunClass>& all = published_classes();
  REQUIRE(all.size() > 10);
  for (const RunClass& runs : all) {
    INFO(runs.card << ", "
                   << (runs.parallelism ? name_of(kParallelismKindNames, *runs.parallelism)
                                        : "any kind"));
    CHECK(runs.runs > 0);
    CHECK(runs.p10 > 0);
    CHECK(runs.p10 <= runs.p90);
    CHECK(runs.p90 < 10);
    REQUIRE_FALSE(runs.precisions.empty());
    REQUIRE_FALSE(runs.families.empty());
    RunTraits smallest{.card = runs.card,
                       .parallelism = runs.parallelism.value_or(ParallelismKind::Data),
                       .precision = runs.precisions.front(),
                       .family = runs.families.front()};
    RunTraits largest = smallest;
    for (std::size_t i = 0; i < kRunSizes; ++i) {
      if (!runs.sizes[i]) continue;
      CHECK(runs.sizes[i]->from <= runs.sizes[i]->to);
      smallest.sizes[i] = runs.sizes[i]->from;
      largest.sizes[i] = runs.sizes[i]->to;
    }
    CHECK(unlike(smallest, runs).empty());
    CHECK(unlike(largest, runs).empty());
    // One step further in any one size is outside by that size alone.
    for (std::size_t i = 0; i < kRunSizes; ++i) {
      if (!runs.sizes[i]) continue;
      RunTraits below = smallest, above = largest;
      *below.sizes[i] -= 1;
      *above.sizes[i] += 1;
      CHECK(unlike(below, runs).size() == 1);
      CHECK(unlike(above, runs).size() == 1);
    }
    RunTraits odd = smallest;
    odd.precision = odd.family = "nothing";
    CHECK(unlike(odd, runs).size() == 2);
    if (runs.card.empty() || !runs.parallelism) continue;
    const RunClass* found = class_of(smallest, all);
    REQUIRE(found);
    CHECK((found == &runs) == (runs.runs >= kLeastRuns));
    CHECK(found->runs >= kLeastRuns);
  }
}

TEST_CASE("published classes: kinds sum to cards, and cards to all") {
  const std::vector<RunClass>& all = published_classes();
  int of_cards = 0, of_kinds = 0, everything = 0;
  for (const RunClass& runs : all) {
    (runs.parallelism ? of_kinds : runs.card.empty() ? everything : of_cards) += runs.runs;
    CHECK_FALSE((runs.card.empty() && runs.parallelism));
    const auto same = std::count_if(all.begin(), all.end(), [&](const RunClass& other) {
      return other.card == runs.card && other.parallelism == runs.parallelism;
    });
    CHECK(same == 1);
  }
  CHECK(of_kinds == everything);
  CHECK(of_cards == everything);
}

#include <algorithm>
#include <random>

#include "catch.hpp"
#include "report/format.hpp"
#include "report/report.hpp"
#include "unit/report_example.hpp"

using namespace windtunnel;
using example::span;

namespace {

double sum(const Breakdown& time) {
  double sum = 0;
  for (const BreakdownPart& part : kBreakdownParts) sum += (time.*part.value).value;
  return sum;
}

// One rank that runs `ops` as `spans` say.
Report report_of(std::vector<Op> ops, std::vector<Span> spans, double end) {
  Job job = example::job();
  job.gpus = 1;
  job.parallel = {};
  Plan plan;
  plan.programs = {{.ops = std::move(ops)}};
  return summarize(job, plan, {.ranks = {{.spans = std::move(spans)}}, .end = Seconds(end)});
}

Op blocking(Op op) {
  op.stream = Stream::Compute;
  return op;
}

}  // namespace

TEST_CASE("the example's time goes where its timeline says") {
  const Report report = summarize(example::job(), example::plan(), example::trace());
  REQUIRE(report.ranks.size() == 2);
  REQUIRE(report.step_time == Seconds(11));

  const Breakdown& first = report.ranks[0].time;
  CHECK(first.forward.value == 1.5);               // 2 x (1 - 0.25)
  CHECK(first.backward.value == 2.5);              // 2 x (2 - 0.25 - 0.5)
  CHECK(first.recompute.value == 1.0);             // 2 x 0.5
  CHECK(first.tensor_communication.value == 1.0);  // 4 x 0.25
  CHECK(first.optimizer.value == 0.5);
  CHECK(first.pipeline_transfer.value == 0.5);   // 4.25-4.5 and 7.25-7.5
  CHECK(first.bubble.value == 3.0);              // 2-4.25 and 6.5-7.25
  CHECK(first.data_communication.value == 1.0);  // 9.5-10.5
  CHECK(first.other_communication.value == 0.0);
  CHECK(sum(first) == 11.0);

  const Breakdown& last = report.ranks[1].time;
  CHECK(last.forward.value == 1.5);
  CHECK(last.backward.value == 2.5);
  CHECK(last.pipeline_transfer.value == 0.25);  // 1-1.25
  CHECK(last.bubble.value == 3.25);             // 0-1 and 8.75-11
  CHECK(last.data_communication.value == 1.0);  // 7.25-8.25
  CHECK(sum(last) == 11.0);

  // Both compute 5.5 s; the first counts. Busy 6 s in passes and 0.5 s in the optimizer.
  CHECK(report.critical == 0);
  CHECK(report.bubble_fraction == Approx(1 - 6.5 / 11).epsilon(1e-15));
}

TEST_CASE("the rank that computes longest is critical") {
  Trace trace = example::trace();
  trace.ranks[1].spans[6].recompute = Seconds(0);      // no more computing than before,
  trace.ranks[1].spans[6].communication = Seconds(0);  // but 0.25 s less in collectives
  CHECK(summarize(example::job(), example::plan(), trace).critical == 1);
}

TEST_CASE("ranks that a class stands for count in the bubble fraction") {
  // Ranks 0-3: 6.5 s busy of 11. Four more of stage 1, of which two lack their optimizer's 0.5 s.
  Trace trace = example::trace();
  trace.ranks[1].represented = 2;
  RankTrace other = trace.ranks[1];
  other.rank = 6;
  other.spans.pop_back();
  trace.ranks.push_back(other);
  const Report report = summarize(example::job(), example::plan(), trace);
  // 1 - (4 x 6.5 + 2 x 6.5 + 2 x 6) / 88 = 1 - 51 / 88
  CHECK(report.bubble_fraction == Approx(37.0 / 88).epsilon(1e-15));
}

TEST_CASE("model FLOPs, MFU, HFU and causal MFU of the example") {
  const Report report = summarize(example::job(), example::plan(), example::trace());
  // 2 layers x 4 samples in micro-batches of one x 6 TFLOP
  CHECK(report.model_flops.value == 48e12);
  // + 2 x 4 x 0.5 TFLOP on each of 2 tensor-parallel ranks
  CHECK(report.hardware_flops.value == 56e12);
  // - 2 x 4 x 1.5 TFLOP
  CHECK(report.causal_flops.value == 36e12);
  REQUIRE(report.peak);
  CHECK(report.peak->value == 1e12);
  // over 8 GPUs x 11 s x 1 TFLOP/s = 88 TFLOP
  CHECK(report.mfu.value() == Approx(48.0 / 88).epsilon(1e-15));
  CHECK(report.hfu.value() == Approx(56.0 / 88).epsilon(1e-15));
  CHECK(report.mfu_causal.value() == Approx(36.0 / 88).epsilon(1e-15));
  CHECK(report.samples_per_s == Approx(4.0 / 11).epsilon(1e-15));
  CHECK(report.tokens_per_s.value() == Approx(4000.0 / 11).epsilon(1e-15));
}

TEST_CASE("MFU takes the slowest GPU type of the job, and none without a peak or FLOPs") {
  Job job = example::job();
  NodeType slow = job.cluster.node_types[0];
  slow.gpu.peak[std::size_t(DType::Bf16)] = FlopRate(0.5e12);
  job.cluster.node_types.push_back(slow);
  SECTION("a slow node among the job's") {
    job.cluster.type_of_node = {0, 1, 0};
    const Report report = summarize(job, example::plan(), example::trace());
    CHECK(report.mfu.value() == Approx(48.0 / 44).epsilon(1e-15));
  }
  SECTION("a slow node that the job does not use") {
    job.cluster.type_of_node = {0, 0, 1};
    const Report report = summarize(job, example::plan(), example::trace());
    CHECK(report.mfu.value() == Approx(48.0 / 88).epsilon(1e-15));
  }
  SECTION("no peak for the precision") {
    job.precision.compute = DType::Fp8;
    CHECK_FALSE(summarize(job, example::plan(), example::trace()).mfu);
  }
  SECTION("a model without FLOPs") {
    ModelFamily timed = example::kFamily;
    timed.work = [](const Model&, int, const Slice&) { return LayerWork{}; };
    timed.is_sequence = false;
    job.model.family = &timed;
    const Report report = summarize(job, example::plan(), example::trace());
    CHECK_FALSE(report.mfu);
    CHECK_FALSE(report.hfu);
    CHECK_FALSE(report.tokens_per_s);
    CHECK_FALSE(report.cost_per_million_tokens);
    CHECK(report.run_time.value().value == 250'000 * 11.0);  // 1e6 samples, 4 a step
  }
  SECTION("no causal mask, no causal MFU") {
    ModelFamily full = example::kFamily;
    full.work = [](const Model& model, int layer, const Slice& slice) {
      LayerWork work = example::work(model, layer, slice);
      work.causal_saving = Flops(0);
      return work;
    };
    job.model.family = &full;
    CHECK_FALSE(summarize(job, example::plan(), example::trace()).mfu_causal);
  }
}

TEST_CASE("of two awaited transfers that run at once the one that ends last counts") {
  // The backward at 10 awaits a message on the way from 3 to 8 and a gather from 6 to 10:
  // 1-3 bubble, 3-6 message, 6-10 gather.
  Op gather = example::reduction(Purpose::ParameterGather, {});
  const Report report =
      report_of({example::compute(Purpose::Forward, 0, 0, {}),
                 example::message(OpKind::Receive, Purpose::Gradient, 1, 0, 1), gather,
                 example::compute(Purpose::Backward, 0, 0, {1, 2})},
                {span(0, 0, 1), span(1, 3, 8), span(2, 6, 10), span(3, 10, 12)}, 12);
  const Breakdown& time = report.ranks[0].time;
  CHECK(time.bubble.value == 2);
  CHECK(time.pipeline_transfer.value == 3);
  CHECK(time.data_communication.value == 4);
  CHECK(sum(time) == 12);
}

TEST_CASE("a transfer that nothing waits for is hidden") {
  // The gather runs from 1 to 5, but the backward awaits only the message from 4 to 5.
  const Report report = report_of({example::compute(Purpose::Forward, 0, 0, {}),
                                   example::message(OpKind::Receive, Purpose::Gradient, 1, 0, 1),
                                   example::reduction(Purpose::ParameterGather, {}),
                                   example::compute(Purpose::Backward, 0, 0, {1})},
                                  {span(0, 0, 1), span(1, 4, 5), span(2, 1, 5), span(3, 5, 6)}, 6);
  CHECK(report.ranks[0].time.bubble.value == 3);
  CHECK(report.ranks[0].time.pipeline_transfer.value == 1);
  CHECK(report.ranks[0].time.data_communication.value == 0);
}

TEST_CASE("waiting for the last of a queue of reductions is waiting for all of them") {
  // Two buckets and the tied embedding, one after the other from 2 to 3, 3 to 5 and 5 to 5.5; the
  // optimizer awaits only the last. Before the first starts, 1 to 2, nothing runs.
  const Report report =
      report_of({example::compute(Purpose::Backward, 0, 0, {}),
                 example::reduction(Purpose::GradientReduction, {0}),
                 example::reduction(Purpose::GradientReduction, {0}),
                 example::reduction(Purpose::EmbeddingReduction, {0}), example::optimizer({3})},
                {span(0, 0, 1), span(1, 2, 3), span(2, 3, 5), span(3, 5, 5.5), span(4, 5.5, 6)}, 6);
  const Breakdown& time = report.ranks[0].time;
  CHECK(time.bubble.value == 1);
  CHECK(time.data_communication.value == 3);
  CHECK(time.other_communication.value == 0.5);
  CHECK(time.optimizer.value == 0.5);
}

TEST_CASE("after the last compute op the collectives that still run count") {
  // ZeRO-1: weights are gathered from 2 to 5 after the optimizer; the slowest rank ends at 6.
  const Report report =
      report_of({example::optimizer({}), example::reduction(Purpose::ParameterGather, {0})},
                {span(0, 0, 2), span(1, 2, 5)}, 6);
  CHECK(report.ranks[0].time.data_communication.value == 3);
  CHECK(report.ranks[0].time.bubble.value == 1);
}

TEST_CASE("blocking transfers and reductions on the compute stream are busy time of their kind") {
  // 0-1 F, 1-1.5 send, idle to 3, 3-3.5 receive, 3.5-5.5 B, 5.5-6 norm, 6-7 optimizer.
  const Report report =
      report_of({example::compute(Purpose::Forward, 0, 0, {}),
                 blocking(example::message(OpKind::Send, Purpose::Activation, 0, 0, 1, {0})),
                 blocking(example::message(OpKind::Receive, Purpose::Gradient, 1, 0, 1)),
                 example::compute(Purpose::Backward, 0, 0, {2}),
                 blocking(example::reduction(Purpose::NormReduction, {3})), example::optimizer({})},
                {span(0, 0, 1), span(1, 1, 1.5), span(2, 3, 3.5), span(3, 3.5, 5.5),
                 span(4, 5.5, 6), span(5, 6, 7)},
                7);
  const Breakdown& time = report.ranks[0].time;
  CHECK(time.pipeline_transfer.value == 1);
  CHECK(time.other_communication.value == 0.5);
  CHECK(time.bubble.value == 1.5);
  CHECK(report.bubble_fraction == Approx(1.5 / 7).epsilon(1e-15));
  CHECK(sum(time) == 7);
}

TEST_CASE("a rank that waits for the others of a collective idles") {
  // Both stages end with a norm reduction on the compute stream and half a second of optimizer.
  // Stage 1 is ready at 8.25, stage 0 at 10.5; then it takes 0.25 s: a collective's span starts
  // when its last member has joined.
  Plan plan = example::plan();
  Trace trace = example::trace();
  for (Program& program : plan.programs) {
    Op norm = blocking(example::reduction(Purpose::NormReduction, {8}));
    norm.group = GroupKind::Model;
    program.ops[9] = norm;
    program.ops.push_back(example::optimizer({9}));
  }
  for (RankTrace& rank : trace.ranks) {
    rank.spans[9] = span(9, 10.5, 10.75);
    rank.spans.push_back(span(10, 10.75, 11.25));
  }
  trace.end = Seconds(11.25);
  const Report report = summarize(example::job(), plan, trace);
  for (const RankSummary& rank : report.ranks) {
    CHECK(rank.time.other_communication.value == 0.25);
    CHECK(sum(rank.time) == 11.25);
  }
  CHECK(report.ranks[1].time.bubble.value == 3.25);  // 0-1 and 8.25-10.5
  // busy: 6 in passes, 0.25, 0.5
  CHECK(report.bubble_fraction == Approx(1 - 6.75 / 11.25).epsilon(1e-15));
}

TEST_CASE("a blocking receive idles until the message is sent") {
  // Stage 1 waits from 0; stage 0 sends after its forward, from 1 to 1.25, and the receive's span
  // is that transfer.
  Plan plan = example::plan();
  for (Program& program : plan.programs)
    for (Op& op : program.ops)
      if (op.kind == OpKind::Receive) op.stream = Stream::Compute;
  Trace trace = example::trace();
  trace.ranks[1].spans[0] = span(0, 1, 1.25);
  const Breakdown time = summarize(example::job(), plan, trace).ranks[1].time;
  CHECK(time.pipeline_transfer.value == 0.25);
  CHECK(time.bubble.value == 3.25);
}

TEST_CASE("MFU and HFU of a published step") {
  // GPT-3 175B, 64 samples of 2048 tokens on 64 A100 in 13.75 s with selective recomputation:
  // 72 B s l h^2 (1 + s/6h + V/12lh) = 141091531099471872 FLOPs, MFU 51.39 % (published: 51.4).
  // Selective recomputation runs 4 B s^2 h more in each of 96 layers: 1266637395197952.
  // Source: Korthikanti et al. 2022, arXiv:2205.05198, table 5.
  Job job = example::job();
  Parameters parameters;
  const ModelFamily* gpt = find_model_family("gpt");
  REQUIRE(gpt);
  for (const ParameterSpec& spec : gpt->parameters) parameters.set(spec.name, spec.fallback);
  parameters.set("layers", 96);
  parameters.set("hidden", 12288);
  parameters.set("heads", 96);
  parameters.set("ffn", 4 * 12288);
  parameters.set("vocab", 51200);
  parameters.set("max_sequence", 2048);
  job.model = build_model("gpt3_175b", *gpt, parameters);
  job.gpus = 64;
  job.cluster.type_of_node.assign(16, 0);
  job.cluster.node_types[0].gpu.peak[std::size_t(DType::Bf16)] = FlopRate(312e12);
  job.parallel.tensor = 8;
  job.parallel.pipeline = 8;
  job.parallel.data = 1;
  job.parallel.sequence_parallel = true;
  job.batch = {.global = 64, .micro = 1, .sequence = 2048};
  job.recompute = Recompute::Selective;
  Trace trace = example::trace();
  trace.end = Seconds(13.75);
  const Report report = summarize(job, example::plan(), trace);
  CHECK(report.model_flops.value == Approx(141091531099471872.0).epsilon(1e-14));
  CHECK(report.hardware_flops.value ==
        Approx(141091531099471872.0 + 1266637395197952.0).epsilon(1e-14));
  CHECK(report.mfu.value() == Approx(0.5139).margin(0.00005));
  // Full recomputation runs each layer's forward once more, the head's not: for a batch of 1536
  // 4510970753323106304 FLOPs in all.
  job.recompute = Recompute::Full;
  CHECK(summarize(job, example::plan(), trace).hardware_flops.value ==
        Approx(4510970753323106304.0 / 24).epsilon(1e-14));
}

TEST_CASE("the parts sum to the step time whatever the trace") {
  std::mt19937 random(1);  // its numbers are the same everywhere
  const auto below = [&random](unsigned n) { return int(random() % n); };
  for (int trial = 0; trial < 500; ++trial) {
    std::vector<Op> ops;
    std::vector<Span> spans;
    double now = 0, end = 0;
    for (int i = 0; i < 12; ++i) {
      std::vector<int> after;
      for (int k = below(4); k > 0 && i > 0; --k) after.push_back(below(unsigned(i)));
      const bool computes = below(2) == 0;
      Op op{.purpose = Purpose(below(kPurposeNames.size())), .after = after};
      if (!computes) op.kind = OpKind::Collective, op.stream = Stream(1 + below(4));
      const double start = computes ? now + below(3) * 0.1 : below(40) * 0.1;
      const double stop = start + below(20) * 0.1;
      const double part = (stop - start) / 3;
      spans.push_back(computes ? span(i, start, stop, part, part) : span(i, start, stop));
      if (computes) now = stop;
      end = std::max(end, stop);
      ops.push_back(std::move(op));
    }
    if (end == 0) continue;
    const Breakdown time = report_of(ops, spans, end).ranks[0].time;
    CHECK(sum(time) == Approx(end).epsilon(1e-13));
    for (const BreakdownPart& part : kBreakdownParts) CHECK((time.*part.value).value >= -1e-15);
  }
}

TEST_CASE("cost and energy: the worked case of 64 GPUs") {
  // 64 GPUs at 2.50 $/h for 1.2 s: 64 x 2.5 x 1.2 / 3600 = 0.053333 $; 5005 steps 266.933 $; at
  // 4e6 tokens a step 0.013333 $ per million; 64 x 700 W x 1.2 s x 1.1 = 59136 J.
  Job job = example::job();
  job.gpus = 64;
  job.cluster.type_of_node.assign(16, 0);
  job.cluster.node_types[0].gpu.tdp = Watts(700);
  job.cluster.power = Power{.utilization = 1, .pue = 1.1};
  job.price->gpus_per_node = 8;
  job.price->on_demand = UsdPerHour(20);
  job.price->spot = UsdPerHour(5);
  job.batch = {.global = 4000, .micro = 1, .sequence = 1000};
  job.total_tokens = 5005 * 4e6;
  Trace trace = example::trace();
  trace.end = Seconds(1.2);
  const Report report = summarize(job, example::plan(), trace);
  CHECK(report.cost_per_step.value().value == Approx(64 * 2.5 * 1.2 / 3600).epsilon(1e-14));
  CHECK(report.cost_of_run.value().value == Approx(266.9333333333333).epsilon(1e-14));
  CHECK(report.cost_per_million_tokens.value().value == Approx(0.01333333333333333).epsilon(1e-14));
  CHECK(report.energy_per_step.value().value == Approx(59136).epsilon(1e-14));
  CHECK(report.run_time.value().value == Approx(5005 * 1.2).epsilon(1e-14));

  SECTION("spot") {
    job.market = Market::Spot;
    const Report spot = summarize(job, example::plan(), trace);
    CHECK(spot.cost_per_step.value().value == Approx(8 * 5 * 1.2 / 3600).epsilon(1e-14));
  }
  SECTION("a market without a price costs nothing that is known") {
    job.price->on_demand = std::nullopt;
    const Report unknown = summarize(job, example::plan(), trace);
    CHECK_FALSE(unknown.cost_per_step);
    CHECK_FALSE(unknown.cost_of_run);
    CHECK(unknown.run_time);
  }
  SECTION("instances are rented whole") {
    job.price->gpus_per_node = 60;  // two of them
    const Report whole = summarize(job, example::plan(), trace);
    CHECK(whole.cost_per_step.value().value == Approx(2 * 20 * 1.2 / 3600).epsilon(1e-14));
  }
  SECTION("a run ends with a whole step") {
    job.total_tokens = 5004 * 4e6 + 1;
    const Report whole = summarize(job, example::plan(), trace);
    CHECK(whole.run_time.value().value == Approx(5005 * 1.2).epsilon(1e-14));
  }
  SECTION("no energy without a TDP or without the cluster's power") {
    job.cluster.node_types[0].gpu.tdp = std::nullopt;
    CHECK_FALSE(summarize(job, example::plan(), trace).energy_per_step);
    job.cluster.node_types[0].gpu.tdp = Watts(700);
    job.cluster.power = std::nullopt;
    CHECK_FALSE(summarize(job, example::plan(), trace).energy_per_step);
  }
}

TEST_CASE("memory and capacity of each rank") {
  Job job = example::job();
  NodeType small = job.cluster.node_types[0];
  small.gpu.memory = Bytes(6e9);
  job.cluster.node_types.push_back(small);
  job.cluster.type_of_node = {0, 1, 0};  // ranks 4-7, stage 1, have less
  const Report report = summarize(job, example::plan(), example::trace());
  // Stage 0 at its first backward: 1 + 1 + 3 resident, 2 x 0.5 activations, 0.2 buffers.
  CHECK(total(report.ranks[0].memory).value == 6.2e9);
  CHECK(report.ranks[0].capacity.value == 8e9);
  // Stage 1 has one micro-batch in flight.
  CHECK(total(report.ranks[1].memory).value == 5.7e9);
  CHECK(report.ranks[1].capacity.value == 6e9);
}

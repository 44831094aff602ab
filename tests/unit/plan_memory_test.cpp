// Memory of one rank: resident states, activations that the schedule holds, buffers of FSDP and of
// recomputation, and that all of it is given back. P = parameters, N = data-parallel ranks, s =
// rank in the pipeline of p, m = micro-batches, v = chunks.
#include <algorithm>

#include "catch.hpp"
#include "jobs.hpp"

namespace windtunnel {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

Bytes states(const Job& job) {
  return total(build_plan(job).programs.front().at_start);
}

Job state_job(double parameters, int ranks, int zero_stage) {
  return job_of(synthetic(1, {.parameters = {parameters}}),
                {.data = ranks, .zero_stage = zero_stage});
}

// Activations of one byte a stage and micro-batch and no weights: the peak counts what is held.
Job counting_job(const std::string& schedule, int p, int m, int v = 1) {
  Job job = job_of(synthetic(p * v, {.activation = 1}), {.pipeline = p, .virtual_stages = v}, m);
  job.schedule = schedule;
  return job;
}

std::vector<double> peak_counts(const Job& job) {
  std::vector<double> counts;
  for (const Program& program : build_plan(job).programs)
    counts.push_back(of(peak_memory(program).at_peak, MemoryKind::Activations).value);
  return counts;
}

// Most that one kind reaches in program order, whatever the others do.
double highest(const Program& program, MemoryKind kind) {
  double now = of(program.at_start, kind).value, most = now;
  const auto apply = [&](const std::vector<MemoryChange>& changes) {
    for (const MemoryChange& change : changes)
      if (change.kind == kind) now += change.bytes;
    most = std::max(most, now);
  };
  for (const Op& op : program.ops) {
    apply(op.on_start);
    apply(op.on_end);
  }
  return most;
}

}  // namespace

TEST_CASE("memory: states of 7.5e9 parameters on 64 ranks") {
  // 2 weights + 2 gradients + 12 fp32 master, mean and variance = 16 bytes a parameter.
  const double expected[] = {120e9, 31.40625e9, 16.640625e9, 1.875e9};
  for (const int zero : {0, 1, 2, 3})
    CHECK(states(state_job(7.5e9, 64, zero)) == Bytes(expected[zero]));
  // The part that is divided: 12, 14 and 16 bytes.
  CHECK(states(state_job(7.5e9, 1024, 1)).value == Approx(30e9 + 12 * 7.5e9 / 1024));
  CHECK(states(state_job(7.5e9, 1024, 2)).value == Approx(15e9 + 14 * 7.5e9 / 1024));
  CHECK(states(state_job(7.5e9, 1024, 3)).value == Approx(16 * 7.5e9 / 1024));
}

TEST_CASE("memory: states by kind") {
  const MemoryByKind memory = build_plan(state_job(64, 4, 2)).programs.front().at_start;
  CHECK(of(memory, MemoryKind::Weights) == Bytes(2 * 64));
  CHECK(of(memory, MemoryKind::Gradients) == Bytes(2 * 64 / 4));
  CHECK(of(memory, MemoryKind::Optimizer) == Bytes(12 * 64 / 4));
  CHECK(of(memory, MemoryKind::Activations) == Bytes(0));
  CHECK(of(memory, MemoryKind::Buffers) == Bytes(0));
  CHECK(of(memory, MemoryKind::Logits) == Bytes(0));
}

TEST_CASE("memory: states with other number types and optimizers, bytes a parameter") {
  const auto per_parameter = [](int zero, Precision precision, OptimizerKind optimizer) {
    Job job = state_job(1000, 8, zero);
    job.precision = precision;
    job.optimizer = optimizer;
    return states(job).value / 1000;
  };
  const Precision megatron = {DType::Bf16, DType::Fp32}, full = {DType::Fp32, DType::Fp32};
  CHECK(per_parameter(0, megatron, OptimizerKind::Adam) == 18);   // 2 + 4 + 12
  CHECK(per_parameter(1, megatron, OptimizerKind::Adam) == 7.5);  // 6 + 12/N
  // An fp8 weight and its transpose, a bf16 gradient.
  CHECK(per_parameter(0, {DType::Fp8, DType::Bf16}, OptimizerKind::Adam) == 16);  // 2 + 2 + 12
  // A bf16 weight, 4.5 bits of it either way round, a bf16 gradient: 2 + 2 x 0.5625 + 2 + 12.
  CHECK(per_parameter(0, {DType::Fp4, DType::Bf16}, OptimizerKind::Adam) == 17.125);
  CHECK(per_parameter(0, full, OptimizerKind::Adam) == 16);  // 4 + 4 + 8: no master copy
  CHECK(per_parameter(1, full, OptimizerKind::Adam) == 9);   // 8 + 8/N
  CHECK(per_parameter(0, full, OptimizerKind::Sgd) == 12);   // 4 + 4 + 4 momentum
  CHECK(per_parameter(0, {}, OptimizerKind::Sgd) == 12);     // 2 + 2 + 4 master + 4
  CHECK(per_parameter(0, {}, OptimizerKind::None) == 4);
}

TEST_CASE("memory: HSDP divides by the ranks of a shard only") {
  Job job = state_job(8e9, 64, 3);
  job.parallel.shard_ranks = 8;
  CHECK(states(job) == Bytes(16e9));  // 16 P / 8
}

TEST_CASE("memory: a rank holds the states of its own stages") {
  // Layers of 1, 2, 3 and 4 parameters; two stages to a rank: 0 and 2 on rank 0, 1 and 3 on rank 1,
  // and in the V of zb-v 0 and 3, 1 and 2.
  const Model model = synthetic(4, {.parameters = {1, 2, 3, 4}});
  Job job = job_of(model, {.pipeline = 2, .virtual_stages = 2}, 2);
  job.schedule = "interleaved";
  CHECK(build_plan(job).programs[0].parameters == 1 + 3);
  CHECK(build_plan(job).programs[1].parameters == 2 + 4);
  CHECK(total(build_plan(job).programs[1].at_start) == Bytes(16 * 6));
  job.schedule = "zb-v";
  CHECK(build_plan(job).programs[0].parameters == 1 + 4);
  CHECK(build_plan(job).programs[1].parameters == 2 + 3);
}

TEST_CASE("memory: micro-batches held at the peak of each schedule") {
  using Counts = std::vector<double>;
  CHECK(peak_counts(counting_job("naive", 4, 8)) == Counts{1, 1, 1, 1});
  CHECK(peak_counts(counting_job("gpipe", 4, 8)) == Counts{8, 8, 8, 8});  // m
  CHECK(peak_counts(counting_job("1f1b", 4, 8)) == Counts{4, 3, 2, 1});   // min(p - s, m)
  CHECK(peak_counts(counting_job("1f1b", 4, 2)) == Counts{2, 2, 2, 1});
  // Warm-up of 2 (p - 1 - s) + (v - 1) p forwards, and one more: 11 chunks, 9, 7, 5.
  CHECK(peak_counts(counting_job("interleaved", 4, 8, 2)) == Counts{11, 9, 7, 5});
  CHECK(peak_counts(counting_job("looped-bfs", 4, 8, 2)) == Counts{16, 16, 16, 16});  // m v
  CHECK(peak_counts(counting_job("zb-h1", 4, 8)) == Counts{4, 4, 4, 4});              // p
  CHECK(peak_counts(counting_job("zb-h2", 4, 8)) == Counts{7, 7, 7, 7});              // 2p - 1
  CHECK(peak_counts(counting_job("zb-v", 4, 8, 2)) == Counts{8, 8, 8, 8});            // 2p
}

TEST_CASE("memory: the peak is at the op that reaches it first") {
  // Rank 0 of 1f1b, p = 2: F0 F1 B0 F2 B1 B2. Two activations are held from F1 on.
  const Program program = build_plan(counting_job("1f1b", 2, 3)).programs.front();
  const MemoryPeak peak = peak_memory(program);
  REQUIRE(peak.op >= 0);
  const Op& op = program.ops[std::size_t(peak.op)];
  CHECK(op.purpose == Purpose::Forward);
  CHECK(op.micro_batch == 1);
  CHECK(total(peak.at_peak) == Bytes(2));
  // No changes at all: the peak is what is there before the first op.
  Job job = state_job(10, 1, 0);
  CHECK(peak_memory(build_plan(job).programs.front()).op == -1);
  CHECK(total(peak_memory(build_plan(job).programs.front()).at_peak) == Bytes(160));
}

TEST_CASE("memory: full recomputation keeps inputs and rebuilds one layer at a time") {
  // Layers with an input of 10 bytes and activations of 100, three to a stage.
  Job job = job_of(synthetic(6, {.message = 10, .activation = 100}), {.pipeline = 2}, 4);
  job.recompute = Recompute::Full;
  const Plan plan = build_plan(job);
  // Rank 0 holds min(p, m) = 2 micro-batches of 3 inputs; a backward pass rebuilds 90 bytes.
  CHECK(of(peak_memory(plan.programs[0]).at_peak, MemoryKind::Activations) == Bytes(2 * 3 * 10));
  CHECK(of(peak_memory(plan.programs[0]).at_peak, MemoryKind::Buffers) == Bytes(90));
  CHECK(total(peak_memory(plan.programs[1]).at_peak) == Bytes(3 * 10 + 90));
}

TEST_CASE("memory: a split backward keeps what it rebuilt until the weight gradient") {
  Job job = job_of(synthetic(4, {.message = 10, .activation = 100}), {.pipeline = 4}, 8);
  job.recompute = Recompute::Full;
  job.schedule = "zb-h1";
  const Plan plan = build_plan(job);
  // Rank 0: F F F F I W F I W ...: 4 inputs and one rebuilt layer.
  CHECK(total(peak_memory(plan.programs[0]).at_peak) == Bytes(4 * 10 + 90));
  // Rank 3: F I F I F I F I W ...: when the first W runs, all 4 micro-batches are rebuilt.
  CHECK(total(peak_memory(plan.programs[3]).at_peak) == Bytes(4 * 100));
  // Rank 1: F F F I F I W F I W: W runs one slot late, so two of four are rebuilt.
  CHECK(total(peak_memory(plan.programs[1]).at_peak) == Bytes(4 * 10 + 2 * 90));
}

namespace {

// A row of Korthikanti et al. 2022, arXiv:2205.05198, figure 1; t = 8, 2048 tokens, V = 51200.
struct PublishedModel {
  double hidden, heads;
  int layers, pipeline, chunks, micro_batch;
  int micro_batches;                  // enough to fill the pipeline
  double none, selective;             // activations of the first stage, GiB
  double states;                      // 18 bytes for each of the 12 l h^2 / (t p) weights, GiB
  double micro_batches_of_embedding;  // held on the first stage
};

Job published_job(const PublishedModel& row) {
  Job job = job_of(gpt(row.hidden, row.layers, row.heads, 51200, 2048),
                   {.tensor = 8, .pipeline = row.pipeline, .virtual_stages = row.chunks});
  job.batch = {
      .global = row.micro_batch * row.micro_batches, .micro = row.micro_batch, .sequence = 2048};
  job.precision.gradients = DType::Fp32;
  if (row.chunks > 1) job.schedule = "interleaved";
  return job;
}

// 1F1B holds p micro-batches of the first stage, l/p layers each. Interleaved: 2 (p - 1) + (v - 1)
// p
// + 1 chunks of l / (p v) layers, which is l (1 + (p - 1) / (p v)); in the warm-up the first chunk
// ran twice p micro-batches before its first backward.
const PublishedModel kPublished[] = {
    {6144, 64, 48, 1, 1, 4, 1, 59.25, 9.5625, 45.5625, 1},
    {12288, 96, 96, 8, 3, 1, 16, 66.84375, 12.3515625, 45.5625, 16},
    {20480, 128, 105, 35, 3, 1, 70, 114.0234375, 23.076171875, 31.640625, 70},
    {25600, 160, 128, 64, 1, 1, 64, 131.25, 26.5625, 32.958984375, 64}};

}  // namespace

TEST_CASE("memory: published first-stage activations through whole jobs") {
  for (const PublishedModel& row : kPublished) {
    INFO(row.hidden);
    for (const bool selective : {false, true}) {
      Job job = published_job(row);
      job.parallel.sequence_parallel = selective;
      job.recompute = selective ? Recompute::Selective : Recompute::None;
      const Program first = build_plan(job).programs.front();
      const double sb = 2048.0 * row.micro_batch, sbh = sb * row.hidden;
      // Embedding: 8-byte token ids and a 1-byte dropout mask, split with the sequence. The head of
      // an unsplit pipeline: inputs of the final norm (split) and of the logits (split as kept).
      const double split = selective ? 8 : 1;
      const double embedding = 8 * sb + sbh / split;
      const double head = row.pipeline == 1 ? 2 * 2 * sbh / split : 0;
      const double held = of(peak_memory(first).at_peak, MemoryKind::Activations).value;
      const double blocks = held - row.micro_batches_of_embedding * embedding - head;
      CHECK(blocks / kGiB == (selective ? row.selective : row.none));
    }
  }
}

TEST_CASE("memory: published states through whole jobs") {
  for (const PublishedModel& row : kPublished) {
    INFO(row.hidden);
    const std::vector<Program> programs = build_plan(published_job(row)).programs;
    const double h = row.hidden, layers = double(row.layers) / row.pipeline;
    // Beside 12 h^2 / t a layer has biases: 7 h split (QKV, first of the MLP), 6 h whole (two
    // norms, two biases after the sums).
    const double biases = layers * (7 * h / 8 + 6 * h);
    // Only an unsplit pipeline has embedding, positions and final norm on the rank looked at.
    const double ends = row.pipeline == 1 ? 51200 * h / 8 + 2048 * h + 2 * h : 0;
    const Program& inner = programs[programs.size() / 2];
    CHECK((total(inner.at_start).value - 18 * (biases + ends)) / kGiB == row.states);
  }
}

TEST_CASE("memory: fp32 logits are on the last stage, beside its activations") {
  Job job = job_of(gpt3_175b(), {.tensor = 8, .pipeline = 2}, 4);
  job.batch.sequence = 2048;
  const Plan plan = build_plan(job);
  // 4 s b V / t = 4 * 2048 * 51200 / 8, of one micro-batch: the last stage runs B after each F.
  CHECK(highest(plan.programs[1], MemoryKind::Logits) == 52428800);
  CHECK(highest(plan.programs[0], MemoryKind::Logits) == 0);
  job.schedule = "gpipe";
  CHECK(highest(build_plan(job).programs[1], MemoryKind::Logits) == 4 * 52428800.0);
}

namespace {

// Four layers; `size` parameters each, or given one by one. Gathered weights and gradients take two
// bytes a parameter.
Job sharded_job(const std::vector<double>& sizes, int micro_batches = 1) {
  return job_of(synthetic(4, {.parameters = sizes}), {.data = 4, .zero_stage = 3}, micro_batches);
}

std::vector<double> buffers_after_each_compute_starts(const Program& program) {
  std::vector<double> list;
  double now = 0;
  const auto apply = [&](const std::vector<MemoryChange>& changes) {
    for (const MemoryChange& change : changes)
      if (change.kind == MemoryKind::Buffers) now += change.bytes;
  };
  for (const Op& op : program.ops) {
    apply(op.on_start);
    if (op.kind == OpKind::Compute && op.purpose != Purpose::Optimizer) list.push_back(now);
    apply(op.on_end);
  }
  return list;
}

}  // namespace

TEST_CASE("memory: FSDP holds two gathered layers, and in backward one layer's gradients") {
  // Layers 0-3 with 1, 10, 100, 1000 parameters show which weights are there, 2 bytes each.
  // Forward of layer i: layers i and i + 1 (the next is on its way). Layer 3 is kept. Backward of
  // layer i: layers i and i - 1, and the gradients of i.
  const Program program = build_plan(sharded_job({1, 10, 100, 1000})).programs.front();
  CHECK(buffers_after_each_compute_starts(program) ==
        std::vector<double>{2 * 11, 2 * 110, 2 * 1100, 2 * 1000,  //
                            2 * (1100 + 1000), 2 * (110 + 100), 2 * (11 + 10), 2 * (1 + 1)});
}

TEST_CASE("memory: PyTorch's FSDP has fp32 shards and no others") {
  Job job = sharded_job({1000, 1000, 1000, 1000});
  job.parallel.fsdp_version = 2;
  const Program program = build_plan(job).programs.front();
  CHECK(of(program.at_start, MemoryKind::Weights) == Bytes(4 * 1000.0));  // 4 x 1000 on 4 ranks
  CHECK(of(program.at_start, MemoryKind::Gradients) == Bytes(4 * 1000.0));
  CHECK(of(program.at_start, MemoryKind::Optimizer) == Bytes(8 * 1000.0));
}

TEST_CASE("memory: whole gradients come as the working set goes") {
  // Of the head: its weight's V h and the norm's h, 2 bytes each, and 2 bytes of a logit that the
  // loss works with, s V. What is more counts.
  struct Row {
    double hidden, sequence, most;
  };
  for (const Row& row : {Row{256, 32, 2 * (128.0 * 256 + 256)}, Row{64, 2048, 2 * 2048.0 * 128}}) {
    Job job = job_of(llama(row.hidden, 1, 256, 4, 4, 128), {.data = 4, .zero_stage = 3});
    job.batch.sequence = int(row.sequence);
    job.software = find_software("megatron");
    const Program program = build_plan(job).programs.front();
    const auto head = std::find_if(program.ops.begin(), program.ops.end(), [](const Op& op) {
      return op.kind == OpKind::Compute && op.purpose == Purpose::Backward;
    });
    REQUIRE(head != program.ops.end());
    double buffers = 0;
    for (const MemoryChange& change : head->on_start)
      if (change.kind == MemoryKind::Buffers) buffers += change.bytes;
    CHECK(buffers == row.most);
  }
}

TEST_CASE("memory: SHARD_GRAD_OP holds all weights between forward and backward") {
  Job job = sharded_job({1, 10, 100, 1000});
  job.parallel.reshard_after_forward = false;
  CHECK(buffers_after_each_compute_starts(build_plan(job).programs.front()) ==
        std::vector<double>{2 * 11, 2 * 111, 2 * 1111, 2 * 1111,  //
                            2 * (1111 + 1000), 2 * (111 + 100), 2 * (11 + 10), 2 * (1 + 1)});
}

TEST_CASE("memory: ZeRO-2 holds the gradients of a bucket until they are reduced") {
  Job job = job_of(synthetic(4, {.parameters = {1, 10, 100, 1000}}), {.data = 4, .zero_stage = 2});
  job.data_parallel.first_bucket = job.data_parallel.bucket = Bytes(1);  // a bucket a layer
  CHECK(buffers_after_each_compute_starts(build_plan(job).programs.front()) ==
        std::vector<double>{0, 2 * 1000, 2 * 100, 2 * 10, 2 * 1});
  // Reduced at the end only, all of them wait.
  job.data_parallel.overlap = false;
  job.data_parallel.no_sync = true;
  CHECK(buffers_after_each_compute_starts(build_plan(job).programs.front()) ==
        std::vector<double>{0, 2 * 1111});
}

TEST_CASE("memory: gradients that wait for the last micro-batch are whole until then") {
  // ZeRO-2 and 3 with no_sync: from the first backward pass on a rank has gradients of all layers.
  for (const int zero : {2, 3})
    for (const int micro_batches : {2, 3}) {
      Job job = sharded_job({1, 10, 100, 1000}, micro_batches);
      job.parallel.zero_stage = zero;
      job.data_parallel.no_sync = true;
      const Program program = build_plan(job).programs.front();
      double now = 0;
      for (const Op& op : program.ops) {
        const bool forward = op.purpose == Purpose::Forward && op.kind == OpKind::Compute;
        if (forward && op.micro_batch == 0) CHECK(now <= 2 * 1111);  // gathered weights at most
        for (const MemoryChange& change : op.on_start)
          if (change.kind == MemoryKind::Buffers) now += change.bytes;
        if (forward && op.micro_batch > 0) CHECK(now >= 2 * 1111);
        for (const MemoryChange& change : op.on_end)
          if (change.kind == MemoryKind::Buffers) now += change.bytes;
      }
      CHECK(now == 0);
    }
}

namespace {

struct Variation {
  int zero = 0;
  Recompute recompute = Recompute::None;
  bool no_sync = false, overlap = false, reshard = false;
};

std::vector<Variation> all_variations() {
  std::vector<Variation> list;
  for (const int zero : {0, 1, 2, 3})
    for (const Recompute recompute : {Recompute::None, Recompute::Selective, Recompute::Full})
      for (int bits = 0; bits < 8; ++bits)
        list.push_back({zero, recompute, bool(bits & 1), bool(bits & 2), bool(bits & 4)});
  return list;
}

// Never below zero, and at the end of the step what was there at its start.
void check_balance(const Program& program) {
  MemoryByKind now = program.at_start;
  bool is_negative = false;
  const auto apply = [&](const std::vector<MemoryChange>& changes) {
    for (const MemoryChange& change : changes) {
      Bytes& bytes = now[std::size_t(change.kind)];
      bytes += Bytes(change.bytes);
      is_negative |= bytes < Bytes(0);
    }
  };
  for (const Op& op : program.ops) {
    apply(op.on_start);
    apply(op.on_end);
  }
  CHECK_FALSE(is_negative);
  CHECK((now == program.at_start));
}

}  // namespace

TEST_CASE("memory: every program gives back what it took") {
  for (const ScheduleFamily& schedule : schedule_table())
    for (const Variation& variation : all_variations()) {
      const int chunks = schedule.limits(2, 4, 1).empty() ? 1 : 2;
      REQUIRE(schedule.limits(2, 4, chunks).empty());
      Job job =
          job_of(gpt(8, 8, 2, 32, 8), {.data = 2, .pipeline = 2, .virtual_stages = chunks}, 4);
      job.batch.sequence = 8;
      job.schedule = schedule.name;
      job.parallel.zero_stage = variation.zero;
      job.parallel.reshard_after_forward = variation.reshard;
      job.recompute = variation.recompute;
      job.data_parallel.no_sync = variation.no_sync;
      job.data_parallel.overlap = variation.overlap;
      job.data_parallel.first_bucket = job.data_parallel.bucket = Bytes(1500);
      INFO(schedule.name << " zero " << variation.zero << " recompute "
                         << recomputation_text(variation.recompute) << " no_sync "
                         << variation.no_sync << " overlap " << variation.overlap << " reshard "
                         << variation.reshard);
      for (const Program& program : build_plan(job).programs) check_balance(program);
    }
}

}  // namespace windtunnel

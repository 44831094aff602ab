// Bytes that one rank sends in a step, with ring collectives. P = parameters, N = data-parallel
// ranks, k = micro-batches, L = layers, u = (N - 1) / N * 2P: an all-gather or reduce-scatter of
// all parameters in bf16.
#include "catch.hpp"
#include "jobs.hpp"

namespace windtunnel {
namespace {

constexpr int kRanks = 64, kLayers = 4;
constexpr double kParameters = 8e9, kUnit = 15.75e9;  // 63 / 64 * 2 * 8e9

// Four layers of 2e9 parameters. Textbook counts gather the last layer twice.
Job large_job(int zero_stage, int micro_batches = 1) {
  const Model model = synthetic(kLayers, {.parameters = {kParameters / kLayers}});
  return job_of(model, {.data = kRanks, .zero_stage = zero_stage, .keep_last_layer = false},
                micro_batches);
}

// All collectives of the data-parallel dimension, each on a ring of its group.
double sent(const Job& job) {
  const Plan plan = build_plan(job);
  double sum = 0;
  for (const Op& op : plan.programs.front().ops) {
    if (op.kind != OpKind::Collective || op.purpose == Purpose::NormReduction) continue;
    const int n = int(plan.grid.members(op.group, 0).size());
    sum += ring_bytes(op.collective, op.bytes, n);
  }
  return sum;
}

double sent_to(const Job& job, GroupKind group, int n) {
  const Program program = build_plan(job).programs.front();
  double sum = 0;
  for (const CollectiveKind kind :
       {CollectiveKind::AllReduce, CollectiveKind::AllGather, CollectiveKind::ReduceScatter})
    sum += ring_bytes(kind, collective_volume(program, group, kind).bytes, n);
  return sum;
}

int count(const Job& job, GroupKind group, CollectiveKind kind) {
  return collective_volume(build_plan(job).programs.front(), group, kind).count;
}

constexpr auto kGather = CollectiveKind::AllGather;
constexpr auto kScatter = CollectiveKind::ReduceScatter;
constexpr auto kReduce = CollectiveKind::AllReduce;

}  // namespace

TEST_CASE("volume: one micro-batch, 8e9 parameters on 64 ranks") {
  CHECK(sent(large_job(0)) == 31.5e9);     // 2u: an all-reduce
  CHECK(sent(large_job(1)) == 2 * kUnit);  // u gradients scattered, u weights gathered
  CHECK(sent(large_job(2)) == 2 * kUnit);  // the same
  CHECK(sent(large_job(3)) == 47.25e9);    // 3u: 2 all-gathers, 1 reduce-scatter
  Job job = large_job(3);
  job.parallel.reshard_after_forward = false;  // SHARD_GRAD_OP
  CHECK(sent(job) == 2 * kUnit);
}

TEST_CASE("volume: which collectives") {
  // The order of the norm's own all-reduce does not matter here: it is of the World group.
  CHECK(count(large_job(0), GroupKind::Data, kReduce) == kLayers);  // a bucket is one layer
  CHECK(count(large_job(0), GroupKind::Data, kGather) == 0);
  CHECK(count(large_job(1), GroupKind::Data, kReduce) == 0);
  CHECK(count(large_job(1), GroupKind::Data, kScatter) == kLayers);
  CHECK(count(large_job(1), GroupKind::Data, kGather) == 1);
  CHECK(count(large_job(3), GroupKind::Shard, kGather) == 2 * kLayers);
  CHECK(count(large_job(3), GroupKind::Shard, kScatter) == kLayers);
  CHECK(count(large_job(3), GroupKind::Data, kScatter) == 0);
}

TEST_CASE("volume: the last layer stays gathered between its forward and its backward") {
  Job job = large_job(3);
  job.parallel.keep_last_layer = true;
  CHECK(sent(job) == 3 * kUnit - kUnit / kLayers);
  // With k micro-batches on one pipeline rank, once in each of them.
  job = large_job(3, 4);
  job.parallel.keep_last_layer = true;
  CHECK(sent(job) == 4 * (3 * kUnit - kUnit / kLayers));
  // SHARD_GRAD_OP keeps all layers anyway.
  job = large_job(3);
  job.parallel.reshard_after_forward = false;
  job.parallel.keep_last_layer = true;
  CHECK(sent(job) == 2 * kUnit);
}

TEST_CASE("volume: k = 4 micro-batches") {
  CHECK(sent(large_job(0, 4)) == 2 * kUnit);        // no_sync
  CHECK(sent(large_job(1, 4)) == 2 * kUnit);        // no_sync
  CHECK(sent(large_job(2, 4)) == (4 + 1) * kUnit);  // k scatters, one gather of the new weights
  CHECK(sent(large_job(3, 4)) == (8 + 4) * kUnit);  // 2k gathers, k scatters
  Job job = large_job(3, 4);
  job.parallel.reshard_after_forward = false;
  CHECK(sent(job) == (4 + 4) * kUnit);  // k gathers, k scatters
}

TEST_CASE("volume: k = 4 micro-batches with the other choice of no_sync") {
  Job job = large_job(0, 4);
  job.data_parallel.no_sync = false;
  CHECK(sent(job) == 4 * 2 * kUnit);
  job = large_job(1, 4);
  job.data_parallel.no_sync = false;
  CHECK(sent(job) == (4 + 1) * kUnit);
  job = large_job(2, 4);
  job.data_parallel.no_sync = true;
  CHECK(sent(job) == 2 * kUnit);
  job = large_job(3, 4);
  job.data_parallel.no_sync = true;
  CHECK(sent(job) == (8 + 1) * kUnit);
}

TEST_CASE("volume: HSDP, shards of 8 and 8 replicas") {
  Job job = large_job(3);
  job.parallel.shard_ranks = 8;
  CHECK(sent_to(job, GroupKind::Shard, 8) == 42e9);     // 3 * 7/8 * 2P
  CHECK(sent_to(job, GroupKind::Replica, 8) == 3.5e9);  // 2 * 7/8 * 2P/8
  CHECK(sent_to(job, GroupKind::Data, 64) == 0);
  job = large_job(3, 4);
  job.parallel.shard_ranks = 8;
  CHECK(sent_to(job, GroupKind::Shard, 8) == 4 * 42e9);
  CHECK(sent_to(job, GroupKind::Replica, 8) == 4 * 3.5e9);
  job.data_parallel.no_sync = true;  // 2k gathers and one scatter of 14e9 each, one all-reduce
  CHECK(sent_to(job, GroupKind::Shard, 8) == 9 * 14e9);
  CHECK(sent_to(job, GroupKind::Replica, 8) == 3.5e9);
}

TEST_CASE("volume: fp32 gradients of Megatron-LM") {
  Job job = large_job(0);
  job.precision.gradients = DType::Fp32;
  CHECK(sent(job) == 8 * kParameters * 63 / 64);
  job = large_job(1);  // distributed optimizer: 4P gradients scattered, 2P weights gathered
  job.precision.gradients = DType::Fp32;
  CHECK(sent(job) == 6 * kParameters * 63 / 64);
}

TEST_CASE("volume: recomputation adds no gather") {
  Job job = large_job(3, 2);
  job.recompute = Recompute::Full;
  CHECK(sent(job) == 2 * 3 * kUnit);
}

TEST_CASE("volume: pipeline and data parallelism reduce each stage's own share") {
  for (const int zero : {0, 1, 2, 3}) {
    Job job = large_job(zero, 4);
    job.parallel.pipeline = 4;
    job.layers_per_stage = split_layers(job.model, 4);
    // A stage has one layer, P / 4. k = 4 as above.
    const double expected[] = {2, 2, 5, 12};
    CHECK(sent(job) == expected[zero] * kUnit / 4);
  }
}

namespace {

// GPT-3, one sequence of 2048, t = 8. M = 2 s b h = 50331648 bytes.
Job gpt3_tensor_job() {
  Job job = job_of(gpt3_175b(), {.tensor = 8});
  job.batch.sequence = 2048;
  return job;
}

// What the collectives inside the compute ops of a purpose send for one layer, all micro-batches.
double sent_inside(const Job& job, int layer, Purpose purpose) {
  const Plan plan = build_plan(job);
  double sum = 0;
  for (const Op& op : plan.programs.front().ops) {
    if (op.kind != OpKind::Compute || op.purpose != purpose) continue;
    for (const BlockPiece& part : plan.blocks[std::size_t(op.block)])
      if (const auto* tensor = std::get_if<LayerCollective>(&part.piece.what))
        if (part.layer == layer) sum += ring_bytes(tensor->kind, tensor->size, 8);
  }
  return sum;
}

}  // namespace

TEST_CASE("volume: tensor parallelism inside the blocks of a plan") {
  Job job = gpt3_tensor_job();
  const auto both = [&] {
    return sent_inside(job, 1, Purpose::Forward) + sent_inside(job, 1, Purpose::Backward);
  };
  CHECK(sent_inside(job, 1, Purpose::Forward) == 176160768);  // 2 all-reduces: 4 * 7/8 M
  CHECK(both() == 352321536);
  job.recompute = Recompute::Full;  // the forward set again, in the backward op
  CHECK(both() == 528482304);
  job.recompute = Recompute::None;
  job.parallel.sequence_parallel = true;  // 2 AG + 2 RS forward, 4 AG + 2 RS backward: 10 * 7/8 M
  CHECK(both() == 440401920);
  job.batch.global = 3;  // three micro-batches run the same blocks
  CHECK(both() == 3 * 440401920.0);
}

TEST_CASE("volume: tensor parallelism of embedding and head") {
  const Job job = gpt3_tensor_job();
  const double whole = 50331648;
  CHECK(sent_inside(job, 0, Purpose::Forward) == 2 * 7 / 8.0 * whole);  // one all-reduce of M
  CHECK(sent_inside(job, 0, Purpose::Backward) == 0);
  // Cross entropy: 3 all-reduces of s b fp32, 3 * 2 * 7/8 * 8192.
  CHECK(sent_inside(job, 97, Purpose::Forward) == 43008);
  CHECK(sent_inside(job, 97, Purpose::Backward) == 2 * 7 / 8.0 * whole);  // dX of the head
}

}  // namespace windtunnel

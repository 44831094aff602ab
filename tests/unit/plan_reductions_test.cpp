// What must hold in every plan of the sums over ranks: gradients by buckets, the norm, parameters
// that several ranks hold.
#include <cstddef>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "unit/plan_cases.hpp"
#include "unit/plan_graph.hpp"

namespace windtunnel {

namespace {

// Layers with their tensors on the rank, in reverse registration order: what DDP puts in buckets.
struct ReadyTensor {
  int layer = 0;
  double bytes = 0;
  bool is_alone = false;  // tied words, whose shards are added up between two pipeline ranks
};
std::vector<ReadyTensor> ready_tensors(const Job& job, int first_layer, int end_layer,
                                       bool has_tied_copy) {
  std::vector<ReadyTensor> list;
  const auto& layers = job.model.layers;
  for (int layer = end_layer; layer-- > first_layer;) {
    const auto& tensors = layers[std::size_t(layer)].tensors;
    for (auto tensor = tensors.rbegin(); tensor != tensors.rend(); ++tensor) {
      if (has_tied_copy && layer > 0 && tensor->name == "embedding.words") continue;
      const double numel = double(tensor->numel) / (tensor->split ? job.parallel.tensor : 1);
      const bool is_alone = !has_tied_copy && job.model.tied_embeddings() &&
                            job.parallel.zero_stage > 0 && tensor->name == "embedding.words";
      list.push_back({layer, numel * bytes_of(job.precision.gradients), is_alone});
    }
  }
  return list;
}

struct Bucket {
  double bytes = 0;
  int lowest_layer = 0;
};
// A bucket closes when it has reached its limit; FSDP has one for each layer. A tensor that is to
// be alone closes the open one and its own.
std::vector<Bucket> expected_buckets(const Job& job, const std::vector<ReadyTensor>& tensors) {
  std::vector<Bucket> buckets;
  double limit = job.data_parallel.first_bucket.value;
  bool is_open = false, after_alone = false;
  for (const ReadyTensor& tensor : tensors) {
    const bool new_layer = !buckets.empty() && buckets.back().lowest_layer != tensor.layer;
    const bool opens =
        job.parallel.zero_stage == 3 ? new_layer || buckets.empty() || after_alone : !is_open;
    if (opens || tensor.is_alone) {
      if (is_open && !buckets.empty()) limit = job.data_parallel.bucket.value;
      buckets.emplace_back();
    }
    buckets.back().bytes += tensor.bytes;
    buckets.back().lowest_layer = tensor.layer;
    after_alone = tensor.is_alone;
    is_open = !tensor.is_alone && buckets.back().bytes < limit;
    if (!is_open) limit = job.data_parallel.bucket.value;
  }
  return buckets;
}

}  // namespace

TEST_CASE("structure: gradients are reduced bucket by bucket, after the pass that completes them") {
  int reductions = 0;
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const Job& job = some.job;
    const Plan plan = build_plan(job);
    const bool owns_both_ends =
        plan.schedule.device_of_stage.front() == plan.schedule.device_of_stage.back();
    for (const Program& program : plan.programs) {
      const Ancestors before(program);
      // Buckets of each own stage. Reductions of a stage come in this order, once or each time.
      std::vector<std::vector<Bucket>> left;
      std::vector<std::pair<int, int>> ranges;
      for (int stage = 0, first = 0; stage < plan.schedule.stages(); ++stage) {
        const int end = first + job.layers_per_stage[std::size_t(stage)];
        if (plan.schedule.device_of_stage[std::size_t(stage)] == program.pipeline) {
          left.push_back(expected_buckets(job, ready_tensors(job, first, end, owns_both_ends)));
          ranges.emplace_back(first, end);
        }
        first = end;
      }
      std::vector<std::size_t> next(left.size());
      std::vector<int> rounds(left.size());
      bool bytes_match = true, is_after = true;
      for (std::size_t i = 0; i < program.ops.size(); ++i) {
        const Op& op = program.ops[i];
        if (!is_collective(op, Purpose::GradientReduction) || op.group == GroupKind::Replica)
          continue;
        ++reductions;
        std::size_t own = 0;
        while (!(op.first_layer >= ranges[own].first && op.end_layer <= ranges[own].second)) ++own;
        const Bucket& bucket = left[own][next[own]];
        bytes_match &= op.bytes == Bytes(bucket.bytes);
        // Passes over the layers from the top down to the lowest of the bucket, of micro-batches
        // that are reduced by now: `rounds` of them before this one.
        int passes_before = 0;
        for (std::size_t j = 0; j < program.ops.size(); ++j)
          passes_before += computes_weight_gradient(program.ops[j]) && before.contains(i, j) &&
                           covers(program.ops[j], bucket.lowest_layer);
        const int needed = job.data_parallel.no_sync ? job.micro_batches() : rounds[own] + 1;
        is_after &= passes_before >= needed;
        if (++next[own] == left[own].size()) {
          next[own] = 0;
          ++rounds[own];
        }
      }
      CHECK(bytes_match);
      CHECK(is_after);
      const int expected_rounds = job.parallel.data == 1      ? 0
                                  : job.data_parallel.no_sync ? 1
                                                              : job.micro_batches();
      for (std::size_t own = 0; own < left.size(); ++own) {
        CHECK(next[own] == 0);
        CHECK(rounds[own] == (left[own].empty() ? 0 : expected_rounds));
      }
    }
  }
  CHECK(reductions > 1000);
}

TEST_CASE("structure: reduced bytes are parameters times gradient bytes, each time") {
  for (const PlanCase& some : plan_cases()) {
    if (!is_data_parallel(some)) continue;
    INFO(some.name);
    const Job& job = some.job;
    const int zero = job.parallel.zero_stage;
    for (const Program& program : build_plan(job).programs) {
      const double times = job.data_parallel.no_sync ? 1 : job.micro_batches();
      const double expected = times * 2 * double(program.parameters);
      const bool is_hybrid = job.parallel.shard_ranks > 0;
      const GroupKind group = zero == 3 || is_hybrid ? GroupKind::Shard : GroupKind::Data;
      const auto kind = zero == 0 ? CollectiveKind::AllReduce : CollectiveKind::ReduceScatter;
      CHECK(collective_volume(program, group, kind).bytes == Bytes(expected));
      CHECK(collective_volume(program, GroupKind::Replica, CollectiveKind::AllReduce).bytes ==
            Bytes(is_hybrid ? expected / job.parallel.shard_ranks : 0));
    }
  }
}

TEST_CASE("structure: a replica's all-reduce comes after the scatter of the same layers") {
  int found = 0;
  for (const PlanCase& some : plan_cases()) {
    if (some.job.parallel.shard_ranks == 0) continue;
    for (const Program& program : build_plan(some.job).programs)
      for (std::size_t i = 0; i < program.ops.size(); ++i) {
        const Op& op = program.ops[i];
        if (op.kind != OpKind::Collective || op.group != GroupKind::Replica) continue;
        REQUIRE(i > 0);
        const Op& scatter = program.ops[i - 1];
        CHECK(scatter.collective == CollectiveKind::ReduceScatter);
        CHECK(scatter.first_layer == op.first_layer);
        CHECK(scatter.bytes.value == 2 * op.bytes.value);  // shards of 2 ranks
        CHECK(scatter.stream == op.stream);
        ++found;
      }
  }
  CHECK(found > 100);
}

TEST_CASE("structure: the norm is summed over all ranks that hold other gradients") {
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const Job& job = some.job;
    const bool is_sharded = job.parallel.data > 1 && job.parallel.zero_stage > 0;
    const bool needed = is_sharded || job.parallel.tensor > 1 || job.parallel.pipeline > 1;
    for (const Program& program : build_plan(job).programs) {
      const GroupKind group = is_sharded ? GroupKind::World : GroupKind::Model;
      const auto volume = collective_volume(program, group, CollectiveKind::AllReduce);
      CHECK(volume.count == int(needed && job.gradient_clipping));
      if (volume.count > 0) CHECK(volume.bytes == Bytes(4));  // one fp32 number
    }
  }
}

TEST_CASE("structure: tied embeddings are summed between first and last rank only") {
  int found = 0;
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const Job& job = some.job;
    const Plan plan = build_plan(job);
    const int first = plan.schedule.device_of_stage.front();
    const int last = plan.schedule.device_of_stage.back();
    const bool is_tied = job.model.tied_embeddings();
    // V h / t parameters, 2 bytes each; from ZeRO-2 on a rank has a shard of a reduced gradient.
    const int shards = job.parallel.zero_stage <= 1   ? 1
                       : job.parallel.shard_ranks > 0 ? job.parallel.shard_ranks
                                                      : job.parallel.data;
    const double expected = 32.0 * 8 / job.parallel.tensor * 2 / shards;
    for (const Program& program : plan.programs) {
      const bool is_end = program.pipeline == first || program.pipeline == last;
      const auto volume =
          collective_volume(program, GroupKind::Embedding, CollectiveKind::AllReduce);
      CHECK(volume.count == int(is_tied && first != last && is_end));
      if (volume.count > 0) CHECK(volume.bytes == Bytes(expected));
      found += volume.count;
    }
  }
  CHECK(found > 100);
}

TEST_CASE("structure: GPT-3's tied embeddings") {
  // V h / t = 51200 * 12288 / 8 parameters with fp32 gradients: 314572800 bytes.
  Job job = job_of(gpt3_175b(), {.tensor = 8, .pipeline = 2}, 2);
  job.batch.sequence = 2048;
  job.precision.gradients = DType::Fp32;
  for (const Program& program : build_plan(job).programs)
    CHECK(collective_volume(program, GroupKind::Embedding, CollectiveKind::AllReduce).bytes ==
          Bytes(314572800));
}

TEST_CASE("structure: sequence parallelism sums the gradients of undivided tensors") {
  // Two blocks of hidden 8 on a rank: 6 h each (two norms, two biases after the sums). The head
  // adds the final norm, 2 h; embedding and positions are before the split. Two bytes each.
  Job job = job_of(small_gpt(true), {.tensor = 2, .pipeline = 4, .sequence_parallel = true}, 4);
  job.batch.sequence = 8;
  const auto bytes = [&](std::size_t rank) {
    return collective_volume(build_plan(job).programs[rank], GroupKind::Tensor,
                             CollectiveKind::AllReduce)
        .bytes;
  };
  CHECK(bytes(0) == Bytes(2 * 2 * 48));
  CHECK(bytes(1) == Bytes(2 * 2 * 48));
  CHECK(bytes(3) == Bytes(2 * (2 * 48 + 16)));
  job.parallel.sequence_parallel = false;
  CHECK(bytes(0) == Bytes(0));
}

TEST_CASE("structure: each tensor rank norms the queries and keys of its own heads") {
  // 3 blocks of two norms of d = 8 features, in two bytes; the other norms see the same tokens on
  // both ranks.
  Job job = job_of(model_of("llama", {{"hidden", {16}},
                                      {"layers", {3}},
                                      {"heads", {2}},
                                      {"ffn", {32}},
                                      {"vocab", {32}},
                                      {"qk_norm", {1}}}),
                   {.tensor = 2});
  job.batch.sequence = 8;
  const auto bytes = [&] {
    return collective_volume(build_plan(job).programs[0], GroupKind::Tensor,
                             CollectiveKind::AllReduce)
        .bytes;
  };
  CHECK(bytes() == Bytes(3 * 2 * 8 * 2));
  // With it all norms are: two more of h = 16 in each block, and the final one.
  job.parallel.sequence_parallel = true;
  CHECK(bytes() == Bytes(3 * 2 * 8 * 2 + (3 * 2 + 1) * 16 * 2));
}

}  // namespace windtunnel

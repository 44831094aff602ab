// What must hold in every plan: over all schedules, pipeline shapes and ways to be parallel.
#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "catch.hpp"
#include "jobs.hpp"
#include "unit/plan_graph.hpp"

namespace windtunnel {
namespace {

struct Variation {
  std::string name;
  std::function<void(Job&)> apply;
};

void set_zero(Job& job, int stage) {
  job.parallel.data = 4;
  job.parallel.zero_stage = stage;
  job.data_parallel.no_sync = stage < 2;
}

const std::vector<Variation>& variations() {
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

Model small_gpt(bool tied) {
  return model_of("gpt", {{"hidden", {8}},
                          {"layers", {8}},
                          {"heads", {2}},
                          {"vocab", {32}},
                          {"max_sequence", {8}},
                          {"tied_embeddings", {tied ? 1.0 : 0.0}}});
}

// Parameters in the middle of the pipeline only.
Model uneven() {
  return synthetic(8, {.message = 10, .activation = 10, .parameters = {0, 0, 9, 0, 7, 99, 0, 0}});
}

struct Case {
  std::string name;
  Job job;
};

void append_cases(const ScheduleFamily& schedule, int p, int m, std::vector<Case>& cases) {
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

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> list;
    for (const ScheduleFamily& schedule : schedule_table())
      for (const auto& [p, m] : {std::pair(1, 2), std::pair(2, 4), std::pair(4, 4)})
        append_cases(schedule, p, m, list);
    return list;
  }();
  return cases;
}

bool computes_weight_gradient(const Op& op) {
  return op.purpose == Purpose::Backward || op.purpose == Purpose::WeightGradient;
}
bool is_pass(const Op& op) {
  return op.kind == OpKind::Compute && op.purpose != Purpose::Optimizer;
}
bool is_data_parallel(const Case& some) {
  return some.job.parallel.data > 1;
}

}  // namespace

TEST_CASE("structure: the cases are many and plans of all of them run to the end") {
  // 8 schedules: 21 variations of tied gpt in 3 shapes; in one, of untied gpt, and the 19 of the
  // uneven model, which has no tensor parallelism.
  CHECK(all_cases().size() == 8 * (3 * 21 + 21 + 19));
  for (const Case& some : all_cases()) {
    INFO(some.name);
    const Plan plan = build_plan(some.job);
    CHECK(UntimedRun(plan).stop() == "");
    CHECK(plan.programs.size() == std::size_t(some.job.parallel.pipeline));
  }
}

TEST_CASE("structure: `after` refers to other ops of the program and closes no cycle") {
  for (const Case& some : all_cases()) {
    INFO(some.name);
    for (const Program& program : build_plan(some.job).programs) {
      const int size = int(program.ops.size());
      bool in_range = true;
      for (int i = 0; i < size; ++i)
        for (const int before : program.ops[std::size_t(i)].after)
          in_range &= before >= 0 && before < size && before != i;
      REQUIRE(in_range);
      CHECK_FALSE(Ancestors(program).has_cycle());
    }
  }
}

TEST_CASE("structure: every send has one receive, with the same message and bytes") {
  using Message = std::tuple<Purpose, int, int, int, int>;  // stage, micro-batch, from, to
  for (const Case& some : all_cases()) {
    INFO(some.name);
    const Plan plan = build_plan(some.job);
    std::map<Message, double> sends, receives;
    int ops = 0;
    std::vector<std::pair<int, int>> counts;
    for (const Program& program : plan.programs) {
      counts.emplace_back();
      for (const Op& op : program.ops) {
        const bool is_send = op.kind == OpKind::Send;
        if (!is_send && op.kind != OpKind::Receive) continue;
        ++ops;
        const int from = is_send ? program.pipeline : op.peer;
        const int to = is_send ? op.peer : program.pipeline;
        (is_send ? sends : receives)[{op.purpose, op.stage, op.micro_batch, from, to}] =
            op.bytes.value;
        if (is_send)
          ++(op.purpose == Purpose::Activation ? counts.back().first : counts.back().second);
      }
    }
    CHECK((sends == receives));
    CHECK(std::size_t(ops) == 2 * sends.size());  // none is listed twice
    CHECK((counts == message_counts(plan.schedule)));
  }
}

TEST_CASE("structure: messages have the size of the boundary they cross") {
  // Hidden state of 8 tokens x 8 features in bf16 = 128 bytes; half of it with t = 2 sequence
  // parallel. Gradients are as large as activations.
  for (const Case& some : all_cases()) {
    INFO(some.name);
    const bool is_split = some.job.parallel.sequence_parallel;
    const double expected = some.job.model.name == "synthetic" ? 10 : is_split ? 64 : 128;
    bool all_equal = true;
    for (const Program& program : build_plan(some.job).programs)
      for (const Op& op : program.ops)
        if (op.kind == OpKind::Send) all_equal &= op.bytes == Bytes(expected);
    CHECK(all_equal);
  }
}

TEST_CASE("structure: a pass waits for its message, and a send for its pass") {
  for (const Case& some : all_cases()) {
    INFO(some.name);
    const Plan plan = build_plan(some.job);
    bool all_wait = true;
    for (const Program& program : plan.programs) {
      const Ancestors before(program);
      for (std::size_t i = 0; i < program.ops.size(); ++i)
        for (std::size_t j = 0; j < program.ops.size(); ++j) {
          const Op &message = program.ops[i], &pass = program.ops[j];
          if (!is_pass(pass) || message.micro_batch != pass.micro_batch) continue;
          const bool forward = message.purpose == Purpose::Activation;
          if (forward != (pass.purpose == Purpose::Forward) ||
              pass.purpose == Purpose::WeightGradient)
            continue;
          if (message.kind == OpKind::Send && message.stage == pass.stage)
            all_wait &= before.contains(i, j);
          if (message.kind == OpKind::Receive && pass.stage == message.stage + (forward ? 1 : -1))
            all_wait &= before.contains(j, i);
        }
    }
    CHECK(all_wait);
  }
}

TEST_CASE("structure: each layer runs each pass once a micro-batch, on the rank of its stage") {
  for (const Case& some : all_cases()) {
    INFO(some.name);
    const Plan plan = build_plan(some.job);
    const bool splits = find_schedule(some.job.schedule)->splits_backward;
    const int layers = int(some.job.model.layers.size());
    std::map<std::tuple<Purpose, int, int>, int> runs;
    bool on_own_rank = true, blocks_match = true;
    for (const Program& program : plan.programs)
      for (const Op& op : program.ops) {
        if (!is_pass(op)) continue;
        on_own_rank &= plan.schedule.device_of_stage[std::size_t(op.stage)] == program.pipeline;
        for (int layer = op.first_layer; layer < op.end_layer; ++layer)
          ++runs[{op.purpose, layer, op.micro_batch}];
        for (const BlockPiece& piece : plan.blocks[std::size_t(op.block)])
          blocks_match &= covers(op, piece.layer);
      }
    const std::size_t passes = splits ? 3 : 2;
    CHECK(runs.size() == passes * std::size_t(layers * some.job.micro_batches()));
    CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& run) { return run.second == 1; }));
    CHECK(runs.contains({Purpose::Backward, 0, 0}) == !splits);
    CHECK(on_own_rank);
    CHECK(blocks_match);
  }
}

TEST_CASE("structure: layers of a pass follow each other, forward up and backward down") {
  for (const Case& some : all_cases()) {
    INFO(some.name);
    bool in_order = true;
    for (const Program& program : build_plan(some.job).programs) {
      std::optional<Op> before;
      for (const Op& op : program.ops) {
        if (!is_pass(op)) continue;
        if (before && before->stage == op.stage && before->micro_batch == op.micro_batch &&
            before->purpose == op.purpose)
          in_order &= op.purpose == Purpose::Forward ? before->end_layer == op.first_layer
                                                     : op.end_layer == before->first_layer;
        before = op;
      }
    }
    CHECK(in_order);
  }
}

TEST_CASE("structure: ZeRO-3 gathers weights before they are used, and not twice") {
  int gathers = 0;
  for (const Case& some : all_cases()) {
    // No variation of ZeRO-3 recomputes: what a pass frees in the buffers are gathered weights.
    if (some.job.parallel.zero_stage != 3) continue;
    INFO(some.name);
    for (const Program& program : build_plan(some.job).programs) {
      const Ancestors before(program);
      std::map<int, int> gather_of_layer;  // those that are there, in program order
      bool is_used_after = true, is_once = true;
      for (int i = 0; i < int(program.ops.size()); ++i) {
        const Op& op = program.ops[std::size_t(i)];
        if (is_collective(op, Purpose::ParameterGather)) {
          CHECK(op.bytes > Bytes(0));
          CHECK(op.group == GroupKind::Shard);
          is_once &= gather_of_layer.emplace(op.first_layer, i).second;
          ++gathers;
        }
        if (!is_pass(op)) continue;
        const auto gather = gather_of_layer.find(op.first_layer);
        const bool has_weights =
            !some.job.model.layers[std::size_t(op.first_layer)].tensors.empty();
        if (has_weights && op.purpose != Purpose::WeightGradient)
          is_used_after &= gather != gather_of_layer.end() &&
                           before.contains(std::size_t(i), std::size_t(gather->second));
        const bool releases =
            std::any_of(op.on_end.begin(), op.on_end.end(), [](const MemoryChange& change) {
              return change.kind == MemoryKind::Buffers && change.bytes < 0;
            });
        if (releases) gather_of_layer.erase(op.first_layer);
      }
      CHECK(is_used_after);
      CHECK(is_once);
      CHECK(gather_of_layer.empty());
    }
  }
  CHECK(gathers > 1000);
}

// A tied head on the embedding's rank has no copy of the words. Shared parameters belong in one
// FSDP unit: torch/distributed/fsdp/wrap.py, transformer_auto_wrap_policy.
TEST_CASE("structure: ZeRO-3 gathers the words that a tied head shares with its rank's embedding") {
  Job job = job_of(small_gpt(true), {.data = 4, .zero_stage = 3}, 2);
  job.batch.sequence = 8;
  const int head = int(job.model.layers.size()) - 1;
  const Program program = build_plan(job).programs.front();
  bool is_there = false;
  for (const Op& op : program.ops) {
    if (is_collective(op, Purpose::ParameterGather) && op.first_layer == 0) is_there = true;
    if (!is_pass(op)) continue;
    if (op.first_layer == head) CHECK(is_there);
    const bool releases =
        std::any_of(op.on_end.begin(), op.on_end.end(), [](const MemoryChange& change) {
          return change.kind == MemoryKind::Buffers && change.bytes < 0;
        });
    if (op.first_layer == 0 && releases) is_there = false;
  }
}

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
  for (const Case& some : all_cases()) {
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
  for (const Case& some : all_cases()) {
    if (!is_data_parallel(some)) continue;
    INFO(some.name);
    const Job& job = some.job;
    const int zero = job.parallel.zero_stage;
    for (const Program& program : build_plan(job).programs) {
      const double times = job.data_parallel.no_sync ? 1 : job.micro_batches();
      const double expected = times * 2 * double(program.parameters);
      const GroupKind group = zero == 3 ? GroupKind::Shard : GroupKind::Data;
      const auto kind = zero == 0 ? CollectiveKind::AllReduce : CollectiveKind::ReduceScatter;
      CHECK(collective_volume(program, group, kind).bytes == Bytes(expected));
      const bool is_hybrid = job.parallel.shard_ranks > 0;
      CHECK(collective_volume(program, GroupKind::Replica, CollectiveKind::AllReduce).bytes ==
            Bytes(is_hybrid ? expected / job.parallel.shard_ranks : 0));
    }
  }
}

TEST_CASE("structure: a replica's all-reduce comes after the scatter of the same layers") {
  int found = 0;
  for (const Case& some : all_cases()) {
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

TEST_CASE("structure: the optimizer comes last but for the gathers of its new weights") {
  for (const Case& some : all_cases()) {
    INFO(some.name);
    const Job& job = some.job;
    for (const Program& program : build_plan(job).programs) {
      const Ancestors before(program);
      std::vector<std::size_t> singles;
      for (std::size_t i = 0; i < program.ops.size(); ++i)
        if (program.ops[i].kind == OpKind::Compute && program.ops[i].purpose == Purpose::Optimizer)
          singles.push_back(i);
      const bool steps = job.optimizer != OptimizerKind::None;
      REQUIRE(singles.size() == std::size_t(job.gradient_clipping) + std::size_t(steps));
      bool is_last = true;
      for (const std::size_t single : singles)
        for (std::size_t i = 0; i < program.ops.size(); ++i) {
          const Op& op = program.ops[i];
          const bool gives_gradients = computes_weight_gradient(op) ||
                                       op.purpose == Purpose::GradientReduction ||
                                       op.purpose == Purpose::ReplicatedReduction ||
                                       op.purpose == Purpose::EmbeddingReduction;
          if (gives_gradients) is_last &= before.contains(single, i);
          const bool is_clip = single == singles.front() && job.gradient_clipping;
          if (op.purpose == Purpose::NormReduction)
            is_last &= is_clip ? before.contains(i, single) : before.contains(single, i);
          const bool new_weights =
              op.purpose == Purpose::ParameterGather && job.parallel.zero_stage < 3;
          if (new_weights) is_last &= steps && before.contains(i, singles.back());
        }
      CHECK(is_last);
    }
  }
}

TEST_CASE("structure: ZeRO-1 and 2 gather all new weights once, stage by stage") {
  for (const Case& some : all_cases()) {
    INFO(some.name);
    const int zero = some.job.parallel.zero_stage;
    for (const Program& program : build_plan(some.job).programs) {
      const auto volume = collective_volume(program, GroupKind::Data, CollectiveKind::AllGather);
      const bool gathers = zero == 1 || zero == 2;
      CHECK(volume.bytes == Bytes(gathers ? 2 * double(program.parameters) : 0));
      CHECK(volume.count <= some.job.parallel.virtual_stages);
      // What has no bytes is not sent: it would still cost its latency.
      CHECK(std::all_of(program.ops.begin(), program.ops.end(), [](const Op& op) {
        return op.kind != OpKind::Collective || op.bytes > Bytes(0);
      }));
    }
  }
}

TEST_CASE("structure: the norm is summed over all ranks that hold other gradients") {
  for (const Case& some : all_cases()) {
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
  for (const Case& some : all_cases()) {
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

TEST_CASE("structure: blocking transfers are on the compute stream, others are not") {
  for (const Case& some : all_cases()) {
    INFO(some.name);
    const bool blocks = some.job.pipeline_transfer == PipelineTransfer::Blocking;
    bool on_right_stream = true;
    for (const Program& program : build_plan(some.job).programs)
      for (const Op& op : program.ops) {
        const bool is_send = op.kind == OpKind::Send;
        if (!is_send && op.kind != OpKind::Receive) continue;
        const Stream own = !is_send                            ? Stream::Receive
                           : op.purpose == Purpose::Activation ? Stream::SendActivation
                                                               : Stream::SendGradient;
        on_right_stream &= op.stream == (blocks ? Stream::Compute : own);
      }
    CHECK(on_right_stream);
  }
}

}  // namespace windtunnel

// What must hold of gathered weights in every plan whose ranks hold shards of them.
#include <algorithm>
#include <map>

#include "catch.hpp"
#include "unit/plan_cases.hpp"
#include "unit/plan_graph.hpp"

namespace windtunnel {

TEST_CASE("structure: ZeRO-3 gathers weights before they are used, and not twice") {
  int gathers = 0;
  for (const PlanCase& some : plan_cases()) {
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

TEST_CASE("structure: ZeRO-1 and 2 gather all new weights once, stage by stage") {
  for (const PlanCase& some : plan_cases()) {
    INFO(some.name);
    const int zero = some.job.parallel.zero_stage;
    const bool gathers = zero == 1 || zero == 2;
    const bool is_hybrid = gathers && some.job.parallel.shard_ranks > 0;
    const GroupKind group = is_hybrid ? GroupKind::Shard : GroupKind::Data;
    for (const Program& program : build_plan(some.job).programs) {
      const auto volume = collective_volume(program, group, CollectiveKind::AllGather);
      CHECK(volume.bytes == Bytes(gathers ? 2 * double(program.parameters) : 0));
      CHECK(volume.count <= some.job.parallel.virtual_stages);
      // What has no bytes is not sent: it would still cost its latency.
      CHECK(std::all_of(program.ops.begin(), program.ops.end(), [](const Op& op) {
        return op.kind != OpKind::Collective || op.bytes > Bytes(0);
      }));
    }
  }
}

}  // namespace windtunnel

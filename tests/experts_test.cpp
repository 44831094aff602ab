// Mixtures of experts and shared samples from YAML to the simulated step.
#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "engine/simulate.hpp"
#include "report/report.hpp"
#include "strategies.hpp"

namespace windtunnel {
namespace {

const std::vector<Setting> kLayouts = {
    {"experts", "parallel: {data: 16, expert: 8}\n"},
    {"experts over all", "parallel: {data: 16, expert: 16}\n"},
    {"experts in a node", "parallel: {data: 16, expert: 2, zero_stage: 1}\n"},
    {"experts folded over tensor ranks",
     "parallel: {data: 8, tensor: 2, sequence_parallel: true, expert: 8, expert_tensor: 1}\n"},
    {"split experts", "parallel: {data: 8, tensor: 2, sequence_parallel: true, expert: 4}\n"},
    {"experts in a pipeline",
     "parallel: {data: 4, pipeline: 4, expert: 4}\nschedule: 1f1b\nrecompute: full\n"},
    {"two-level dispatch", "parallel: {data: 16, expert: 16, expert_dispatch: two_level}\n"},
    {"exchanges beside another micro-batch",
     "parallel: {data: 16, expert: 8, overlap_experts: true}\n"},
    {"exchanges beside another micro-batch, slow host",
     "parallel: {data: 4, pipeline: 4, expert: 4, overlap_experts: true}\nschedule: 1f1b\n"
     "recompute: full\nhost: {kernel: 30 us, collective: 70 us}\n"},
    {"ring", "parallel: {data: 4, context: 4}\n"},
    {"all-gather", "parallel: {data: 4, context: 4, context_parallel: all_gather}\n"},
    {"ulysses", "parallel: {data: 4, context: 4, context_parallel: ulysses, zero_stage: 1}\n"},
    {"ring, tensor and pipeline",
     "parallel: {data: 2, context: 2, tensor: 2, sequence_parallel: true, pipeline: 2}\n"
     "schedule: 1f1b\n"},
    {"ring and experts, slow host",
     "parallel: {data: 4, context: 4, expert: 8}\nhost: {kernel: 30 us, collective: 70 us}\n"},
};

Job layout_job(const Setting& layout, const Condition& condition,
               const std::string& communication) {
  const std::string yaml =
      "model: {family: llama, hidden: 512, layers: 4, heads: 8, ffn: 1024, vocab: 4096,\n"
      "        experts: 16, experts_per_token: 2}\n" +
      cluster_yaml(condition, communication) +
      "batch: {global: 32, micro: 1, sequence: 256}\n"
      "precision: {compute: bf16, gradients: fp32}\nattention: flash\n" +
      layout.yaml;
  return load_job_text(yaml, WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml", {});
}

double step_time(const Job& job, Fidelity fidelity) {
  Conditions conditions = conditions_of(job);
  conditions.fidelity = fidelity;
  return simulate(build_plan(job), build_cluster(job.cluster, job.gpus), conditions).end.value;
}

}  // namespace

TEST_CASE("experts and context: folded, stage and full agree") {
  for (const Setting& layout : kLayouts)
    for (const std::size_t condition :
         {std::size_t(0), std::size_t(1), std::size_t(5), kConditions.size() - 1})
      for (const std::string& communication : {kAlphaBeta, kNccl}) {
        INFO(layout.name << ", " << kConditions[condition].name << ", " << communication);
        const Job job = layout_job(layout, kConditions[condition], communication);
        const double full = step_time(job, Fidelity::Full);
        CHECK(step_time(job, Fidelity::Stage) == Approx(full).epsilon(1e-9));
        CHECK(step_time(job, Fidelity::Folded) == Approx(full).epsilon(1e-9));
      }
}

// 2 GPUs of one node; a rank sends 256 tokens x 2 copies x 512 x 2 bytes = 524288, of which half
// leave. 4 blocks, 32 / 2 micro-batches, two exchanges forward and two backward.
Job exchanging_job(const std::string& links, const std::string& more) {
  const std::string yaml =
      "model: {family: llama, hidden: 512, layers: 4, heads: 8, ffn: 1024, vocab: 4096,\n"
      "        experts: 2, experts_per_token: 2}\n"
      "cluster: {nodes: [{count: 1, type: {gpu: ../topologies/gpus/a100-sxm4-80gb.yaml, gpus: 2,\n"
      "  interconnect: {family: nvlink_switch, " +
      links + ", efficiency: 1}}}],\n  communication: " + kAlphaBeta +
      "}\n"
      "gpus: 2\nparallel: {data: 2, expert: 2" +
      more +
      "}\ngradient_clipping: false\ndata_parallel: {overlap: false}\n"
      "batch: {global: 32, micro: 1, sequence: 256}\n"
      "precision: {compute: bf16, gradients: fp32}\nattention: flash\n";
  return load_job_text(yaml, WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml", {});
}
constexpr int kExchanges = 16 * 4 * 4;

// Two rounds for each, of a ring all-reduce on 2 ranks.
int rounds_of_reductions(const Job& job) {
  const Plan plan = build_plan(job);
  int reductions = 0;
  for (const Op& op : plan.programs.front().ops) reductions += op.kind == OpKind::Collective;
  return 2 * reductions;
}

TEST_CASE("experts: an all-to-all takes what leaves the ranks at the speed of their links") {
  // 2 us + 262144 / 300e9 s each; nothing else of the step but what is the same without them.
  const Job fast = exchanging_job("bandwidth: 300 GB/s, latency: 2 us", "");
  const Job late = exchanging_job("bandwidth: 300 GB/s, latency: 12 us", "");
  // 10 us more for each all-to-all, and for both rounds of the reductions.
  CHECK(step_time(late, Fidelity::Full) - step_time(fast, Fidelity::Full) ==
        Approx(10e-6 * (kExchanges + rounds_of_reductions(fast))).epsilon(1e-9));
}

TEST_CASE("experts: exchanges beside another micro-batch cost what is longer than its kernels") {
  const std::string overlapped = ", overlap_experts: true";
  const auto seconds = [](const std::string& links, const std::string& more) {
    return step_time(exchanging_job(links, more), Fidelity::Full);
  };
  const std::string fast = "bandwidth: 300 GB/s, latency: 2 us";
  const int rounds = rounds_of_reductions(exchanging_job(fast, ""));
  // Each is shorter than the kernels beside it: the step is as long as without any.
  const double exchange = 2e-6 + 262144 / 300e9;
  CHECK(seconds(fast, "") - seconds(fast, overlapped) ==
        Approx(kExchanges * exchange).epsilon(1e-9));
  // All are longer: 1 ms more each is 1 ms more, and what is saved are the kernels.
  const std::string slow = "bandwidth: 300 GB/s, latency: 10 ms",
                    slower = "bandwidth: 300 GB/s, latency: 11 ms";
  CHECK(seconds(slower, overlapped) - seconds(slow, overlapped) ==
        Approx(1e-3 * (kExchanges + rounds)).epsilon(1e-9));
  const double saved = seconds(slow, "") - seconds(slow, overlapped);
  CHECK(saved == Approx(seconds(slower, "") - seconds(slower, overlapped)).epsilon(1e-9));
  CHECK(saved > kExchanges * exchange);
  CHECK(saved < seconds(fast, overlapped));
}

TEST_CASE("experts: two-level dispatch sends a token once to a node") {
  // 2 nodes of 2 GPUs, every NIC 10 GB/s without latency, NVLink 1000000 GB/s. 256 tokens x 8
  // copies x 512 x 2 bytes = 2097152 of which half are for the other node: over the sender's own
  // NIC. All 8 experts are chosen, so that both nodes need the token: sent once, 2 of 8 copies go,
  // one of them to the own node. Then what came and what stayed is exchanged inside.
  const auto seconds = [](const std::string& more) {
    const std::string yaml =
        "model: {family: llama, hidden: 512, layers: 4, heads: 8, ffn: 1024, vocab: 4096,\n"
        "        experts: 8, experts_per_token: 8}\n"
        "cluster: {nodes: [{count: 2, type: {gpu: ../topologies/gpus/a100-sxm4-80gb.yaml, gpus: "
        "2,\n"
        "  interconnect: {family: nvlink_switch, bandwidth: 1000000 GB/s, latency: 0 us,\n"
        "    efficiency: 1}, nics: {count: 2, bandwidth: 80 Gb/s}}}],\n"
        "  fabric: {family: star, latency: 0 us, efficiency: 1}, communication: " +
        kAlphaBeta +
        "}\n"
        "gpus: 4\nparallel: {data: 4, expert: 4" +
        more +
        "}\ngradient_clipping: false\ndata_parallel: {overlap: false}\n"
        "batch: {global: 32, micro: 1, sequence: 256}\n"
        "precision: {compute: bf16, gradients: fp32}\nattention: flash\n";
    const Job job = load_job_text(yaml, WINDTUNNEL_SOURCE_DIR "/workloads/test.yaml", {});
    return std::pair(step_time(job, Fidelity::Full), step_time(job, Fidelity::Rounds));
  };
  const auto [direct, direct_rounds] = seconds("");
  const auto [once, once_rounds] = seconds(", expert_dispatch: two_level");
  const double between = 1048576 / 10e9, inside = 1048576 / 1e15;
  const int exchanges = 8 * 4 * 4;
  CHECK(direct - once == Approx(exchanges * (between * (1 - 2.0 / 8) - inside)).epsilon(1e-9));
  CHECK(once_rounds == Approx(once).epsilon(1e-9));
}

TEST_CASE("experts: GEMMs that apply SwiGLU leave out its kernels and the casts around it") {
  Slice slice = {
      .sequence = 4096, .type = DType::Fp8, .attention = AttentionKernel::Flash, .expert = 2};
  const Job job = exchanging_job("bandwidth: 300 GB/s, latency: 2 us", "");
  const auto names = [&](const std::vector<Piece>& pieces) {
    std::multiset<std::string> result;
    for (const Piece& piece : pieces) result.emplace(piece.name);
    return result;
  };
  const auto left_out = [&](auto pass) {
    slice.software = find_software("megatron");
    const auto all = names(layer_work(job.model, 1, slice).*pass);
    slice.software = find_software("megatron-fused-experts");
    const auto fused = names(layer_work(job.model, 1, slice).*pass);
    std::vector<std::string> difference;
    std::set_difference(all.begin(), all.end(), fused.begin(), fused.end(),
                        std::back_inserter(difference));
    CHECK(all.size() == fused.size() + difference.size());
    return difference;
  };
  CHECK(left_out(&LayerWork::forward) == std::vector<std::string>{"cast_rows", "experts_swiglu"});
  const std::vector<std::string> backward = {"cast_row_gradients", "experts_swiglu"};
  CHECK(left_out(&LayerWork::backward) == backward);
  CHECK(left_out(&LayerWork::backward_input) == backward);
  CHECK(left_out(&LayerWork::backward_weight).empty());
  slice.type = DType::Bf16;  // of fp8 alone
  CHECK(left_out(&LayerWork::forward).empty());
}

TEST_CASE("experts: the report names active parameters, the layout and what is assumed") {
  const Job job = layout_job(kLayouts[0], kConditions[0], kNccl);
  const Plan plan = build_plan(job);
  const Trace trace = simulate(plan, build_cluster(job.cluster, job.gpus), conditions_of(job));
  const Report report = summarize(job, plan, trace);
  const std::string text = to_text(report, job);
  CHECK(text.find("active)") != std::string::npos);
  CHECK(text.find("expert 8 x expert tensor 1, balanced routing") != std::string::npos);
  CHECK(to_json(report, job).find("\"routing\": \"balanced\"") != std::string::npos);
}

}  // namespace windtunnel

// The accuracy harness: its statistics on numbers worked out by hand, rows of published tables
// mapped to jobs, and that no row is lost on the way.
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "commands/validate_collectives.hpp"
#include "commands/validate_job.hpp"
#include "commands/validate_null.hpp"
#include "commands/validate_residuals.hpp"
#include "commands/validate_run.hpp"
#include "commands/validate_statistics.hpp"
#include "commands/validate_summary.hpp"
#include "commands/validate_table.hpp"
#include "config/config_error.hpp"
#include "folder.hpp"

using namespace windtunnel;

namespace {

const std::string kRoot = WINDTUNNEL_SOURCE_DIR;
const std::string kTables = kRoot + "/validation/published/";

const Rules& rules() {
  static const Rules kRules = load_rules(kRoot + "/validation/systems.yaml");
  return kRules;
}

PublishedRow row_named(const std::string& table, const std::string& id) {
  for (const PublishedRow& row : read_published(kTables + table + ".csv"))
    if (row.name() == table + "-" + id) return row;
  FAIL("no row " << id << " in " << table);
  return {};
}

// Of the row, with the first recompute that it allows.
Job job_for(const std::string& table, const std::string& id) {
  const MappedRow mapped = mapped_row(row_named(table, id), rules());
  INFO(table << " " << id << ": " << (mapped.refusal ? mapped.refusal->reason : mapped.text));
  REQUIRE_FALSE(mapped.refusal);
  return job_of(mapped, mapped.recompute.front(), 0, rules());
}

std::string refusal_of(const std::string& table, const std::string& id) {
  const MappedRow mapped = mapped_row(row_named(table, id), rules());
  return mapped.refusal ? mapped.refusal->reason : "";
}

std::string error_of(const std::string& csv) {
  try {
    published_rows(csv, "t.csv");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

struct Ended {
  int code = 0;
  std::string output;
};

Ended program(const std::string& arguments) {
  const std::string command = std::string(WINDTUNNEL_PROGRAM) + " " + arguments + " 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  Ended ended;
  std::array<char, 4096> buffer{};
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe))
    ended.output.append(buffer.data(), count);
  ended.code = WEXITSTATUS(pclose(pipe));
  return ended;
}

}  // namespace

TEST_CASE("errors are summarized as by hand") {
  // Errors +10 %, -20 %, 0, +50 %: mean 20 %, middle of 10 and 20, and 0.9 * 3 = 2.7 ranks up.
  const std::vector<Pair> pairs = {{1.1, 1}, {1.6, 2}, {3, 3}, {6, 4}};
  const auto errors = error_summary(pairs);
  REQUIRE(errors);
  CHECK(errors->mape == Approx(0.2));
  CHECK(errors->median == Approx(0.15));
  CHECK(errors->p90 == Approx(0.2 + 0.7 * 0.3));
  CHECK(errors->worst == Approx(0.5));
  CHECK(errors->bias == Approx(0.1));
  CHECK_FALSE(error_summary({}));
}

TEST_CASE("rank correlation shares ranks among ties") {
  const std::vector<Pair> same = {{1, 10}, {2, 20}, {3, 30}};
  const std::vector<Pair> reversed = {{3, 10}, {2, 20}, {1, 30}};
  CHECK(spearman(same) == Approx(1));
  CHECK(spearman(reversed) == Approx(-1));
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
  const std::vector<Pair> tied = {{1, 1}, {2, 2}, {2, 3}, {5, 4}};
  CHECK(spearman(tied) == Approx(4.5 / std::sqrt(4.5 * 5)));
  const std::vector<Pair> all_tied = {{1, 1}, {1, 2}, {1, 3}}, few = {{1, 1}, {2, 2}};
  CHECK_FALSE(spearman(all_tied));
  CHECK_FALSE(spearman(few));
}

TEST_CASE("regret is what the picked layout costs over the best") {
  // The prediction picks the second, which takes 12; the best takes 10.
  const std::vector<Pair> pairs = {{5, 10}, {4, 12}, {9, 30}};
  CHECK(regret(pairs) == Approx(0.2));
}

TEST_CASE("schedules are compared by the ratio of their times where nothing else differs") {
  Validation validation{.tables = {"t"}, .rows = {}};
  const auto add = [&](const char* schedule, const char* micro_batch, double predicted,
                       double published) {
    ValidatedRow& row = validation.rows.emplace_back();
    row.table = "t";
    row.row.cells = {{"schedule", schedule}, {"mbs", micro_batch}};
    row.outcome.seconds = predicted;
    row.published = {published, "s_per_iter"};
  };
  add("1F1B", "1", 12, 10);
  CHECK_FALSE(summaries(validation).back().schedule_ratio);
  add("ZB-1p", "1", 9, 8);    // 0.75 of the first, published 0.8: 6.25 % off
  add("GPipe", "1", 15, 12);  // 1.25 and 1.2: 4.17 % of the first; 5/3 and 1.5: 11.1 % of ZB-1p
  add("1F1B", "2", 100, 1);   // another micro-batch
  CHECK(summaries(validation).back().schedule_ratio == Approx((0.0625 + 0.05 / 1.2 + 1. / 9) / 3));
}

TEST_CASE("least squares finds coefficients and keeps them from being negative") {
  // y = 2 a + 3 b
  const std::vector<double> exact =
      least_squares({{1, 0}, {0, 1}, {1, 1}}, std::vector<double>{2, 3, 5});
  CHECK(exact[0] == Approx(2));
  CHECK(exact[1] == Approx(3));
  // Unrestricted: 2 a - b. Without b: sum a y / sum a a = (1 * 1 + 2 * 4) / (1 + 4).
  const std::vector<double> bound = least_squares({{1, 1}, {2, 0}}, std::vector<double>{1, 4});
  CHECK(bound[0] == Approx(1.8));
  CHECK(bound[1] == 0);
  // A term that is zero everywhere.
  CHECK(least_squares({{1, 0}, {2, 0}}, std::vector<double>{3, 6}) == std::vector<double>{3, 0});
}

TEST_CASE("the null models are fitted as their formulas say") {
  // Efficiency: the geometric mean of 1/2 and 1/8. Two rows carry one coefficient; relative errors
  // of c/2 and c/8: c = (1/2 + 1/8) / (1/4 + 1/64).
  const auto models = fitted_null_models({{{1, 9, 9, 9, 9}, 2}, {{1, 7, 7, 7, 7}, 8}});
  REQUIRE(models);
  CHECK(models->efficiency == Approx(0.25));
  CHECK(models->coefficients[0] == Approx(0.625 / 0.265625));
  CHECK(models->coefficients[1] == 0);
  CHECK(models->flops_seconds({3}) == Approx(12));
  CHECK_FALSE(fitted_null_models({}));
}

TEST_CASE("Korthikanti: interleaved stages, sequence parallel, selective recomputation") {
  const Job job = job_for("01_korthikanti_2022", "0004");
  CHECK(job.model.family->name == "gpt");
  CHECK(job.model.parameter_count() == 174615846912);  // workloads/models/gpt3-175b.yaml
  CHECK(job.gpus == 64);
  CHECK(job.parallel.tensor == 8);
  CHECK(job.parallel.pipeline == 8);
  CHECK(job.parallel.virtual_stages == 3);
  CHECK(job.parallel.data == 1);
  CHECK(job.parallel.sequence_parallel);
  CHECK(job.schedule == "interleaved");
  CHECK(job.recompute == Recompute::Selective);
  CHECK(job.attention == AttentionKernel::Unfused);
  CHECK(job.precision.compute == DType::Fp16);
  CHECK(job.precision.gradients == DType::Fp16);
  CHECK(job.pipeline_transfer == PipelineTransfer::Blocking);
  CHECK(job.batch.global == 64);
  CHECK(job.batch.micro == 1);
  CHECK(job.batch.sequence == 2048);
  CHECK(job.cluster.node_types[0].gpu.name == "NVIDIA A100-SXM4-80GB");
  CHECK(job.cluster.node_types[0].nics == 8);
}

TEST_CASE("vTrain: 800 Gb/s a node, a padded vocabulary, no bucketing") {
  const Job job = job_for("12_vtrain_multinode", "0070");
  CHECK(job.gpus == 512);
  CHECK(job.parallel.tensor == 8);
  CHECK(job.parallel.pipeline == 8);
  CHECK(job.parallel.data == 8);
  CHECK(job.schedule == "1f1b");
  CHECK(job.recompute == Recompute::Full);
  CHECK_FALSE(job.data_parallel.overlap);
  CHECK(job.parallel.zero_stage == 0);
  CHECK(job.model.parameters.count("vocab") == 51200);  // 50257 up to a multiple of 128 x 8
  CHECK(job.cluster.node_types[0].nics == 4);
  CHECK(job.cluster.node_types[0].nic_bandwidth.value == Approx(25e9));
  CHECK(job.micro_batches() == 48);
  const Job whole = job_for("12_vtrain_multinode", "0001");
  CHECK(whole.parallel.tensor == 1);
  CHECK(whole.model.parameters.count("vocab") == 50257);  // not split, so not padded
}

TEST_CASE("MosaicML: fully sharded, gradients reduced in fp32 unless pure") {
  const Job job = job_for("04_mosaicml_llm_foundry", "0009");
  CHECK(job.gpus == 128);
  CHECK(job.parallel.zero_stage == 3);
  CHECK(job.parallel.data == 128);
  CHECK(job.batch.micro == 16);
  CHECK(job.precision.compute == DType::Bf16);
  CHECK(job.precision.gradients == DType::Fp32);
  CHECK(job.attention == AttentionKernel::Flash1);
  CHECK(job.kernels == Kernels::Eager);
  CHECK(job.recompute == Recompute::Full);
  CHECK_FALSE(job.model.parameters.flag("dropout"));
  CHECK(job.cluster.node_types[0].gpu.name.find("H100") != std::string::npos);
}

TEST_CASE("Zero bubble: 30 blocks with embedding and head make 8 equal stages") {
  const Job job = job_for("14_zero_bubble", "0081");
  CHECK(job.schedule == "1f1b");
  CHECK(job.layers_per_stage == std::vector<int>(8, 4));
  CHECK(job.batch.micro == 3);
  CHECK(job.recompute == Recompute::None);
  CHECK(job.cluster.type_of_node.size() == 1);
  CHECK(job_for("14_zero_bubble", "0001").schedule == "zb-h2");
}

TEST_CASE("Hagemann: Llama shape, ZeRO-1, the kernel of the row") {
  const Job job = job_for("11_hagemann_parallel_layouts", "0140");
  CHECK(job.model.family->name == "llama");
  CHECK(job.model.parameters.count("ffn") == 13824);
  CHECK(job.parallel.zero_stage == 1);
  CHECK(job.parallel.tensor == 2);
  CHECK(job.parallel.data == 32);
  CHECK(job.precision.gradients == DType::Bf16);
  CHECK(job.software->name == "aleph-alpha-scaling");
  CHECK(job.recompute == Recompute::Full);
  CHECK(job.attention == AttentionKernel::Flash1);
  CHECK(job_for("11_hagemann_parallel_layouts", "0073").attention == AttentionKernel::Eager);
}

TEST_CASE("Mixtral: 8 experts of 2 over 8 of 16 data ranks") {
  const Job job = job_for("03_megatron_lm_repo", "0021");
  CHECK(job.model.parameter_count() == 46702792704);
  CHECK(job.parallel.data == 16);
  CHECK(job.parallel.pipeline == 4);
  CHECK(job.parallel.virtual_stages == 8);
  CHECK(job.parallel.expert == 8);
  CHECK(job.parallel.ranks_of_expert() == 1);
}

TEST_CASE("Grok: experts and shared samples; who splits an expert is assumed unless it is stated") {
  // 4 x 8 x 8 x 2 = 512 ranks; a stage has 4 x 8 x 2 = 64 = 8 experts x 4 ranks x 2 copies.
  const Job job = job_for("08_dgxc_benchmarking", "0102");
  CHECK(job.parallel.data == 8);
  CHECK(job.parallel.context == 2);
  CHECK(job.parallel.context_parallel == ContextParallel::Ring);
  CHECK(job.parallel.expert == 8);
  CHECK(job.parallel.ranks_of_expert() == 4);
  CHECK(job_for("08_dgxc_benchmarking", "0378").parallel.ranks_of_expert() == 1);
  const auto assumed = mapped_row(row_named("08_dgxc_benchmarking", "0102"), rules()).assumed;
  for (const char* what :
       {"every expert gets the same number of tokens", "etp 4", "context parallel ring"})
    CHECK(std::count(assumed.begin(), assumed.end(), what) == 1);
}

TEST_CASE("SimuMax: context parallelism by all-to-all") {
  const Job job = job_for("22_simumax_b200", "0037");
  CHECK(job.parallel.context == 4);
  CHECK(job.parallel.context_parallel == ContextParallel::Ulysses);
}

TEST_CASE("NeMo: no layer is recomputed, attention is cuDNN's from 24.09 on") {
  // Llama 70B whose cell of recomputation is empty; 24.07 and 24.11 on H100.
  for (const auto& [table, id, kernel] :
       {std::tuple("07_nemo_older", "0012", AttentionKernel::Flash),
        std::tuple("08_dgxc_benchmarking", "0021", AttentionKernel::Cudnn)}) {
    const Job job = job_for(table, id);
    CHECK(job.attention == kernel);
    CHECK(job.recompute == Recompute::None);
    const MappedRow mapped = mapped_row(row_named(table, id), rules());
    CHECK(mapped.recompute == std::vector<std::string>{"none"});
    CHECK(std::count(mapped.assumed.begin(), mapped.assumed.end(),
                     "recompute none as its recipes") == 1);
  }
  // A stack that only shares the table: the least that fits.
  CHECK(mapped_row(row_named("08_dgxc_benchmarking", "0164"), rules()).recompute.size() == 3);
}

TEST_CASE("blocks that recompute: a stated part, or what hardware FLOPs count beyond the model's") {
  const Job second = job_for("05_torchtitan", "0033");  // every second of 32
  CHECK(second.recompute == Recompute::Full);
  CHECK(second.recompute_layers == 16);
  const Job some = job_for("24_frameworks_misc", "0035");  // 69 % HFU, 61 % MFU: 3 x 8 / 61 of 40
  CHECK(some.recompute == Recompute::Full);
  CHECK(some.recompute_layers == 16);
  const Job all = job_for("24_frameworks_misc", "0037");  // 74 and 55 %: more than a forward pass
  CHECK(all.recompute == Recompute::Full);
  CHECK_FALSE(all.recompute_layers);
  CHECK(job_for("24_frameworks_misc", "0034").recompute == Recompute::None);  // 46 and 46 %
}

TEST_CASE("InternLM: attention that is only said to be fused is FlashAttention 1") {
  CHECK(job_for("18_internevo", "0001").attention == AttentionKernel::Flash1);
  CHECK(job_for("20_nanotron", "0001").attention == AttentionKernel::Flash);
}

TEST_CASE("DeepSpeed of 2021 gathers every tensor by a list") {
  CHECK(job_for("02_megatron_sc21", "0021").parallel.tensor_lists);
  CHECK_FALSE(job_for("24_frameworks_misc", "0089").parallel.tensor_lists);
}

TEST_CASE("Pax: XLA's attention keeps the scores, TransformerEngine's does not") {
  CHECK(job_for("24_frameworks_misc", "0112").attention == AttentionKernel::Unfused);
  CHECK(job_for("24_frameworks_misc", "0114").attention == AttentionKernel::Cudnn);
}

TEST_CASE(
    "BERT of data-parallel programs: masked positions, operators, gradients, no recomputation") {
  const std::string table = "25_vision_bert_dataparallel";
  const Job paddle = job_for(table, "0422");
  CHECK(paddle.model.parameters.number("masked") == 0.15);
  CHECK(paddle.software == find_software("paddle"));
  const Job variables = job_for(table, "0371");  // TensorFlow 1
  CHECK(variables.model.parameters.number("masked") == 0.15625);
  CHECK(variables.software == find_software("tensorflow1"));
  const Job clustered = job_for(table, "0448");  // with XLA
  CHECK(clustered.precision.compute == DType::Fp16);
  CHECK(clustered.precision.gradients == DType::Fp32);
  CHECK(clustered.software == find_software("tensorflow-xla"));
  CHECK(job_for(table, "0424").software == find_software("mxnet"));
  CHECK_FALSE(job_for(table, "0282").data_parallel.overlap);                   // TensorFlow 2
  CHECK(job_for(table, "0372").model.parameters.number("masked") == 1);        // NGC PyTorch
  CHECK(job_for(table, "0210").model.parameters.number("masked") == 0.15625);  // its later version
  for (const PublishedRow& row : read_published(kTables + table + ".csv")) {
    const MappedRow mapped = mapped_row(row, rules());
    INFO(row.name());
    if (!mapped.refusal) CHECK(mapped.recompute == std::vector<std::string>{"none"});
  }
}

TEST_CASE("MegaScale's baseline overlaps nothing") {
  const Job baseline = job_for("16_papers_large_runs", "0001");
  CHECK_FALSE(baseline.data_parallel.overlap);
  CHECK(baseline.pipeline_transfer == PipelineTransfer::Blocking);
  CHECK(job_for("16_papers_large_runs", "0005").data_parallel.overlap);
}

TEST_CASE("a pipeline whose transfers the source overlaps has a virtual stage for each layer") {
  const Job job = job_for("03_megatron_lm_repo", "0005");  // 84 layers on 2 stages
  CHECK(job.parallel.virtual_stages == 42);
  CHECK(job.schedule == "interleaved");
  CHECK(job_for("03_megatron_lm_repo", "0003").parallel.virtual_stages == 1);  // no pipeline
  CHECK(job_for("02_megatron_sc21", "0015").parallel.virtual_stages == 1);
}

TEST_CASE("nobody reduces gradients in fp8; NVIDIA's recipes reduce them in bf16") {
  const Precision fp8 = job_for("07_nemo_older", "0001").precision;
  CHECK(fp8.compute == DType::Fp8);
  CHECK(fp8.gradients == DType::Bf16);
  CHECK(job_for("08_dgxc_benchmarking", "0304").precision.gradients == DType::Bf16);  // bf16
  CHECK(job_for("03_megatron_lm_repo", "0003").precision.gradients == DType::Fp32);   // bf16
}

TEST_CASE("Nemotron has no gate") {
  const Parameters& parameters = job_for("08_dgxc_benchmarking", "0304").model.parameters;
  CHECK_FALSE(parameters.flag("gated"));
  CHECK(parameters.count("ffn") == 24576);
}

TEST_CASE("Nemotron-340B has its recipe's virtual stages unless the row states them") {
  CHECK(job_for("08_dgxc_benchmarking", "0322").parallel.virtual_stages == 12);
  PublishedRow row = row_named("08_dgxc_benchmarking", "0322");
  row.cells["vpp"] = "6";
  const MappedRow mapped = mapped_row(row, rules());
  CHECK(job_of(mapped, "none", 0, rules()).parallel.virtual_stages == 6);
}

TEST_CASE("servers that NVLink joins are one node, the largest that divides the job") {
  // 256 GB300 as four domains of 64 of their 72; a NIC of 800 Gb/s for each.
  const Job four = job_for("06_megatron_bridge", "0019");
  CHECK(four.cluster.type_of_node.size() == 4);
  const NodeType& node = four.cluster.node_types.front();
  CHECK(node.gpus == 64);
  CHECK(node.nics == 64);
  CHECK(node.nic_bandwidth.value == Approx(100e9));
  CHECK(node.nccl->channels_inter == 64);
  CHECK(node.nccl->channel_inter.value == Approx(96e9));
  // 72 GB300 are one domain, which has no fabric.
  const Job one = job_for("09_mlperf_llm_logs", "0223");
  CHECK(one.cluster.type_of_node.size() == 1);
  CHECK(one.cluster.node_types.front().gpus == 72);
}

TEST_CASE("what published configurations say goes where cells are empty, and nowhere else") {
  // Llama 2 70B LoRA on 64 GB200 and on 8 MI300X: neither layout nor format in the row.
  const Job on_gb200 = job_for("09_mlperf_llm_logs", "0106");
  CHECK(on_gb200.parallel.context == 8);
  CHECK(on_gb200.parallel.context_parallel == ContextParallel::Ulysses);
  CHECK(on_gb200.parallel.data == 8);
  CHECK(on_gb200.precision.compute == DType::Fp8);
  CHECK(on_gb200.recompute == Recompute::None);
  CHECK(on_gb200.software->name == "megatron");
  const Job on_mi300x = job_for("09_mlperf_llm_logs", "0110");
  CHECK(on_mi300x.parallel.data == 8);
  CHECK(on_mi300x.recompute == Recompute::Full);
  CHECK(on_mi300x.recompute_layers == 21);
  CHECK(on_mi300x.software->name == "megatron-fp8-gate");
  // The row's own layout counts before the source's usual one, which has one context rank there.
  PublishedRow stated = row_named("09_mlperf_llm_logs", "0106");
  stated.cells["tp"] = "2";
  stated.cells["pp"] = "1";
  stated.cells["cp"] = "4";
  const MappedRow mapped = mapped_row(stated, rules());
  CHECK(mapped.text.find("data: 8, tensor: 2, pipeline: 1, context: 4") != std::string::npos);
  CHECK(refusal_of("09_mlperf_llm_logs", "0032") == "sizes not stated");
  // NeMo's fine-tuning packs short samples, its pretraining does not.
  CHECK(job_for("08_dgxc_benchmarking", "0215").batch.attended_length == 175);
  CHECK(job_for("08_dgxc_benchmarking", "0021").batch.attended_length == 0);
}

TEST_CASE("MLPerf's BERT: no padding, LAMB divided in a server, fp8 by TransformerEngine") {
  const Job on_a100 = job_for("10_mlperf_bert_resnet_logs", "0067");  // 8 servers of 8
  CHECK(on_a100.batch.sequence == 256);
  CHECK(on_a100.model.parameters.number("masked") == 0.15);
  CHECK(on_a100.parallel.zero_stage == 1);
  CHECK(on_a100.parallel.shard_ranks == 8);
  CHECK(!on_a100.data_parallel.overlap);
  CHECK(on_a100.precision.compute == DType::Fp16);
  const Job on_h100 = job_for("10_mlperf_bert_resnet_logs", "0250");  // one server
  CHECK(on_h100.parallel.shard_ranks == 0);
  CHECK(on_h100.precision.compute == DType::Fp8);
  CHECK(job_for("10_mlperf_bert_resnet_logs", "0248").precision.compute == DType::Fp16);  // 768
}

TEST_CASE("the fp4 of MLPerf v5.1 where rows name two formats or none") {
  const Job of_405b = job_for("09_mlperf_llm_logs", "0220");
  CHECK(of_405b.precision.compute == DType::Fp4);
  CHECK(of_405b.precision.gradients == DType::Bf16);
  const Job of_8b = job_for("09_mlperf_llm_logs", "0206");
  CHECK(of_8b.precision.compute == DType::Fp4);
  CHECK(of_8b.parallel.data == 8);
  CHECK(of_8b.batch.micro == 2);
}

TEST_CASE("a server with PCIe is the box of topologies/nodes with the row's GPUs") {
  const NodeType node = job_for("10_mlperf_bert_resnet_logs", "0016").cluster.node_types.front();
  CHECK(node.gpu.name == "NVIDIA A100-PCIe-80GB");
  CHECK(node.gpu.memory_bandwidth.value == Approx(1555e9));  // the row's has 40 GB
  CHECK(node.gpu.power_limit->value == 250);
  CHECK(node.nccl->multiprocessors == 108);
}

TEST_CASE("an InfiniBand beside 100GbE is none of 100 Gb/s") {
  const auto nics = [](const char* id) {
    const NodeType node = job_for("09_mlperf_llm_logs", id).cluster.node_types.front();
    return std::pair(node.nics, node.nic_bandwidth);
  };
  CHECK(nics("0272").first == 8);
  CHECK(nics("0272") == nics("0271"));
}

TEST_CASE("TFLOP/s of the whole attention square give a longer time than those of its half") {
  const TemporaryFolder folder("whole_attention");
  const std::string table = (folder.path / "long.csv").string();
  std::istringstream all(text_of(kTables + "07_nemo_older.csv"));
  std::ofstream some(table);
  for (std::string line; std::getline(all, line);)
    if (line.starts_with("split,") || line.find("older-0081,") != std::string::npos ||
        line.find("older-0049,") != std::string::npos)
      some << line << '\n';
  some.close();
  const Validation validation = validated({table}, rules(), Split::All, 1);
  REQUIRE(validation.rows.size() == 2);
  // Llama 7B, a token: linears 6 x (32 x (4 x 4096^2 + 3 x 4096 x 11008) + 4096 x 32000) = 39.65
  // GFLOP, the square 12 x 32 x 4096 x 2^20 = 1649 GFLOP: (39.65 + 1649) / (39.65 + 824.6) = 1.954.
  CHECK(validation.rows[0].published->seconds == published_time(validation.rows[0].row)->seconds);
  CHECK(validation.rows[1].published->seconds == Approx(1.954 * 6.60462).epsilon(1e-3));
}

TEST_CASE("rows that state too little are refused with a reason") {
  CHECK(refusal_of("01_korthikanti_2022", "0017") == "not a measurement");
  CHECK(refusal_of("07_nemo_older", "0001").empty());  // fp8 on H100
  PublishedRow of_two_formats = row_named("07_nemo_older", "0001");
  of_two_formats.cells["precision"] = "fp8 or fp4: both recipes shipped for this system";
  CHECK(mapped_row(of_two_formats, rules()).refusal->reason == "fp8 or fp4 is not stated");
  CHECK(refusal_of("03_megatron_lm_repo", "0022") == "the switches of this step are not stated");
  CHECK(refusal_of("03_megatron_lm_repo", "0034").empty());  // the last step, with all of them
  PublishedRow on_a100 = row_named("07_nemo_older", "0001");
  on_a100.cells["gpu_type"] = "A100-SXM4-80GB";
  CHECK(mapped_row(on_a100, rules()).refusal->reason ==
        "no efficiency curves of this number format");
  CHECK(refusal_of("15_moe_parallel_folding", "0004") == "only an MFU is published");
  CHECK(refusal_of("19_oneflow_libai_dlperf", "0001") == "no GPU stated");
  CHECK(refusal_of("23_sailor", "0001") == "no profile of the GPU");
}

TEST_CASE("assumptions for missing cells are written down") {
  const MappedRow mapped = mapped_row(row_named("12_vtrain_multinode", "0070"), rules());
  const std::vector<std::string> expected = {"software as Megatron-DeepSpeed of vTrain",
                                             "precision fp16", "vocabulary padded to 51200",
                                             "A100 of 80 GB with NVSwitch", "zero stage 0"};
  CHECK(mapped.assumed == expected);
}

TEST_CASE("times come from the first column that states one, never from an MFU") {
  const std::string header =
      "model,arch,gpus,gpu_type,gbs,seq_len,s_per_iter,s_per_iter_calc,"
      "tokens_per_s_per_gpu,samples_per_s,mfu_pct,notes\n";
  const auto time_of = [&](const std::string& cells) {
    return published_time(published_rows(header + "m,decoder,8,A100," + cells, "t.csv").front());
  };
  CHECK(time_of("64,100,2,3,NA,NA,40,NA\n")->seconds == 2);
  CHECK(time_of("64,100,NA,3,NA,NA,40,NA\n")->column == "s_per_iter_calc");
  CHECK(time_of("64,100,NA,NA,80,NA,40,NA\n")->seconds == 10);  // 6400 tokens at 640 a second
  CHECK(time_of("64,100,NA,NA,NA,16,40,NA\n")->seconds == 4);
  CHECK_FALSE(time_of("64,100,NA,3,NA,NA,40,inverted from MFU\n"));
  CHECK_FALSE(time_of("64,100,NA,NA,NA,NA,40,NA\n"));
}

TEST_CASE("bad tables name file, line and what is wrong") {
  const std::string header = "model,arch,gpus,gpu_type,gbs,s_per_iter\n";
  CHECK(error_of("") == "t.csv:1: error: the table is empty");
  CHECK(error_of("model,arch,gpus,gpu_typ,gbs\n") ==
        "t.csv:1: error: unknown column 'gpu_typ' (did you mean 'gpu_type'?)");
  CHECK(error_of("model,arch,model\n") == "t.csv:1: error: column 'model' for the second time");
  CHECK(error_of("model,arch,gpus,gbs\n") == "t.csv:1: error: missing column 'gpu_type'");
  CHECK(error_of("job\n") == "t.csv:1: error: missing column 'published_s'");
  CHECK(error_of(header + "m,decoder,8\n") == "t.csv:2: error: 3 fields, but the header has 6");
  CHECK(error_of(header + "m,decoder,8,A100,64,fast\n") ==
        "t.csv:2: error: s_per_iter: expected a positive number or NA, got 'fast'");
  CHECK(error_of(header + "\"m,decoder,8,A100,64,1\n") ==
        "t.csv:2: error: a quoted field without its closing quote");
  CHECK(error_of("split,model,arch,gpus,gpu_type,gbs\ntrain,m,decoder,8,A100,64\n") ==
        "t.csv:2: error: split: expected test or calibrate, got 'train'");
  CHECK(error_of(header + "m,\"decoder, causal\",8,A100,64,1\n").empty());
}

TEST_CASE("no row disappears, and two runs print the same bytes") {
  const std::vector<std::string> files = {kTables + "01_korthikanti_2022.csv",
                                          kTables + "12_vtrain_multinode.csv"};
  const Validation validation = validated(files, rules(), Split::All, 2);
  CHECK(validation.rows.size() == 17 + 71);
  const std::vector<TableSummary> tables = summaries(validation);
  REQUIRE(tables.size() == 3);
  for (const TableSummary& table : tables) {
    std::size_t refused = 0;
    for (const auto& [reason, rows] : table.refused) {
      CHECK_FALSE(reason.empty());
      refused += std::size_t(rows);
    }
    CHECK(table.rows == table.timed + table.memory_only + refused);
  }
  CHECK(tables[0].timed == 4);
  CHECK(tables[1].timed == 71);
  CHECK(tables[1].null_flops.has_value());
  CHECK(tables[1].null_regression.has_value());
  const Validation again = validated(files, rules(), Split::All, 1);
  CHECK(rows_csv(validation) == rows_csv(again));
  CHECK(summary_json(tables) == summary_json(summaries(again)));
}

TEST_CASE("errors of runs that are alike: eight of a table at least") {
  const std::vector<std::string> files = {kTables + "01_korthikanti_2022.csv",
                                          kTables + "12_vtrain_multinode.csv"};
  Validation validation = validated(files, rules(), Split::All, 2);
  for (ValidatedRow& row : validation.rows)
    if (row.is_timed()) row.outcome.seconds = 0.75 * row.published->seconds;
  const std::string text = residuals_markdown(validation, rules());
  const auto lines_with = [&text](const std::string& part) {
    int lines = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
      ++lines;
    return lines;
  };
  // 71 runs of table 12: 47 with a pipeline, 21 with tensor parallelism alone and 3 of neither.
  CHECK(lines_with("\n| 12_vtrain_multinode | NVIDIA A100-SXM4-80GB | fp16 | gpt | ") == 2);
  CHECK(lines_with("pipeline | 47 | 25.0 | -25.0 | -25.0 to -25.0 |\n") == 1);
  CHECK(lines_with("tensor | 21 | 25.0 | -25.0 | -25.0 to -25.0 |\n") == 1);
  CHECK(lines_with("01_korthikanti") == 0);  // four runs
  std::erase_if(validation.rows, [](const ValidatedRow& row) { return row.table[1] == '2'; });
  CHECK(residuals_markdown(validation, rules()).empty());
}

TEST_CASE("every published row becomes a job or a reason") {
  for (const char* table : {"03_megatron_lm_repo", "05_torchtitan", "16_papers_large_runs",
                            "20_nanotron", "24_frameworks_misc", "25_vision_bert_dataparallel"})
    for (const PublishedRow& row : read_published(kTables + table + ".csv")) {
      const MappedRow mapped = mapped_row(row, rules());
      INFO(row.name());
      CHECK(mapped.refusal.has_value() == mapped.text.empty());
      if (mapped.refusal) CHECK(mapped.refusal->reason != "a word without a rule");
      if (!mapped.refusal) CHECK_FALSE(mapped.recompute.empty());
    }
}

TEST_CASE("the accuracy table goes between its marks") {
  const std::string begin = "<!-- accuracy: begin -->", end = "<!-- accuracy: end -->";
  CHECK(between_marks("a\n" + begin + "\nold\n" + end + "\nb\n", "accuracy", "new\n", "r.md") ==
        "a\n" + begin + "\nnew\n" + end + "\nb\n");
  CHECK_THROWS_AS(between_marks("no marks", "accuracy", "new\n", "r.md"), ConfigError);
}

TEST_CASE("collectives: rows are predicted, refused with a reason, and fitted on other systems") {
  const TemporaryFolder folder("collectives");
  const std::string header =
      "row_id,system,gpu,gpus_per_node,nodes,ranks,intra_link,lib,algo,collective,size_bytes,"
      "time_us,algbw_GBps,note\n";
  const std::string table = (folder.path / "sweeps.csv").string();
  write_text(table,
             header + "a,8xA100 node,A100,8,1,8,NVLink3,nccl,,all_reduce,1073741824,8000,,\n" +
                 "b,DGX Cloud H100,H100,8,1,8,NVLink4,nccl,,all_reduce,1073741824,,214.7483648,\n" +
                 "c,8xA100 node,A100,8,1,8,NVLink3,nccl,,sendrecv,1024,10,,\n" +
                 "d,8xA100 node,A100,8,1,8,NVLink3,mscclpp (not NCCL),,all_gather,1024,10,,\n");
  CHECK(is_collective_table(table));
  CHECK_FALSE(is_collective_table(kTables + "01_korthikanti_2022.csv"));
  const std::vector<CollectiveRow> rows = collective_rows({table}, rules());
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].seconds.published == Approx(8e-3));
  CHECK(rows[1].seconds.published == Approx(5e-3));  // from the bandwidth
  CHECK(rows[2].refusal == "no such collective: sendrecv");
  CHECK(rows[3].refusal == "not NCCL");
  REQUIRE(rows[0].fitted);
  REQUIRE(rows[1].fitted);
  // Each is corrected by the other's ratio of measured to predicted.
  CHECK(*rows[0].fitted ==
        Approx(rows[0].seconds.predicted * rows[1].seconds.published / rows[1].seconds.predicted));
  CHECK(*rows[1].fitted ==
        Approx(rows[1].seconds.predicted * rows[0].seconds.published / rows[0].seconds.predicted));
  CHECK(collectives_text(rows).find("8xA100 node, 1 x 8") != std::string::npos);
  CHECK(collectives_csv(rows).find("d,8xA100 node,all_gather,1,8,1024,1e-05,,,not NCCL\n") !=
        std::string::npos);
}

TEST_CASE("a rule's numbers are numbers") {
  const TemporaryFolder folder("bad_rules");
  const std::string path = (folder.path / "rules.yaml").string();
  const auto error_in = [&](const std::string& section, const std::string& rule) {
    const bool is_later = section == "recompute";
    const std::string between =
        is_later ? "frameworks: []\nmodels: []\nlayouts: []\nschedules: []\n" : "";
    write_text(path, "gpus: []\nfabrics: []\n" + between + section + ":\n  - {match: [x], " + rule +
                         "}\n");
    try {
      load_rules(path);
    } catch (const ConfigError& caught) {
      const std::string text = caught.what();
      return text.substr(path.size(), text.find('\n') - path.size());
    }
    return std::string();
  };
  const auto error = [&](const std::string& rule) { return error_in("frameworks", rule); };
  // The value follows the 30 columns of `  - {match: [x], mean_length: `.
  CHECK(error("mean_length: many") ==
        ":4:31: error: frameworks[0].mean_length: expected a positive integer, got 'many'");
  CHECK(error("mean_length: 0") ==
        ":4:31: error: frameworks[0].mean_length: expected a positive integer, got '0'");
  CHECK(error_in("recompute", "share: 1.5") ==
        ":8:25: error: recompute[0].share: expected at most 1");
  CHECK(error("masked: 1.5") == ":4:26: error: frameworks[0].masked: expected at most 1");
  CHECK(error_in("recompute", "share: half") ==
        ":8:25: error: recompute[0].share: expected a positive number, got 'half'");
}

TEST_CASE("collectives: bad tables name file, line and what is wrong") {
  const TemporaryFolder folder("bad_collectives");
  const auto error = [&](const std::string& csv) -> std::string {
    const std::string table = (folder.path / "t.csv").string();
    write_text(table, csv);
    try {
      collective_rows({table}, rules());
    } catch (const ConfigError& caught) {
      const std::string text = caught.what();
      return text.substr(text.rfind("t.csv"));
    }
    return "";
  };
  CHECK(error("collective,system\n") == "t.csv:1: error: missing column 'gpu'");
  const std::string header =
      "system,gpu,gpus_per_node,nodes,ranks,intra_link,lib,algo,collective,size_bytes,"
      "time_us,algbw_GBps,note\n";
  CHECK(error(header + "a,b\n") == "t.csv:2: error: 2 fields, but the header has 13");
}

TEST_CASE("validate on the command line: wrong input exits with 2") {
  const Ended missing = program("validate no-such-table.csv --rules " + rules().path);
  CHECK(missing.code == 2);
  CHECK(missing.output == "no-such-table.csv: error: cannot be read\n");
  const Ended split = program("validate " + kTables + "01_korthikanti_2022.csv --split most");
  CHECK(split.code == 2);
  const Ended rules = program("validate " + kRoot + "/README.md");
  CHECK(rules.code == 2);
  const Ended works = program("validate " + kTables + "01_korthikanti_2022.csv");
  CHECK(works.code == 0);
  CHECK(works.output.find("10 of 14 rows not simulated") != std::string::npos);
}

TEST_CASE("validate on the command line: an option that its files cannot take is refused") {
  const auto refused = [](const std::string& file, const std::string& option,
                          const std::string& value) {
    const Ended ended = program("validate " + file + " " + option + " " + value);
    CHECK(ended.code == 2);
    return ended.output;
  };
  const std::string job = kRoot + "/workloads/lab/1f1b.yaml";
  for (const auto& [option, value] : std::map<std::string, std::string>{
           {"--profile", "machine.yaml"}, {"--set", "gpus=2"}, {"--lab", ""}})
    CHECK(refused(kTables + "01_korthikanti_2022.csv", option, value) ==
          option + ": error: is for jobs (YAML), not for tables (CSV)\n");
  for (const auto& [option, value] : std::map<std::string, std::string>{{"--split", "test"},
                                                                        {"--rules", "rules.yaml"},
                                                                        {"--jobs", "2"},
                                                                        {"--write-readme", "a.md"},
                                                                        {"--write-intervals", "a"},
                                                                        {"--zero-shot", ""}})
    CHECK(refused(job, option, value) ==
          option + ": error: is for tables (CSV), not for jobs (YAML)\n");
  CHECK(refused(job, kTables + "01_korthikanti_2022.csv", "") ==
        "error: validate takes tables (CSV) or jobs (YAML), not both at once\n");
}

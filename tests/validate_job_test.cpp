// Rows of published tables become jobs, or a reason why not.
#include <string>
#include <vector>

#include "catch.hpp"
#include "commands/validate_job.hpp"
#include "commands/validate_run.hpp"
#include "config/config_error.hpp"
#include "folder.hpp"
#include "published_tables.hpp"

using namespace windtunnel;

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
  for (const PublishedRow& row : read_published(kPublished + table + ".csv")) {
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
  std::istringstream all(text_of(kPublished + "07_nemo_older.csv"));
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

TEST_CASE("every published row becomes a job or a reason") {
  for (const char* table : {"03_megatron_lm_repo", "05_torchtitan", "16_papers_large_runs",
                            "20_nanotron", "24_frameworks_misc", "25_vision_bert_dataparallel"})
    for (const PublishedRow& row : read_published(kPublished + table + ".csv")) {
      const MappedRow mapped = mapped_row(row, rules());
      INFO(row.name());
      CHECK(mapped.refusal.has_value() == mapped.text.empty());
      if (mapped.refusal) CHECK(mapped.refusal->reason != "a word without a rule");
      if (!mapped.refusal) CHECK_FALSE(mapped.recompute.empty());
    }
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

// One training job. What its values must satisfy together is in job_checks.cpp.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "config/job_checks.hpp"
#include "config/loaders.hpp"
#include "interchange/chakra.hpp"
#include "schedules/schedule.hpp"

namespace windtunnel {
namespace {

// Larger than any job; products of these stay within 64 bits.
constexpr std::int64_t kMostRanks = 1 << 20;
constexpr std::int64_t kLargestBatch = 1 << 24;

void read_fsdp(YamlMap map, Parallelism& parallel) {
  if (const auto value = map.find("reshard_after_forward"))
    parallel.reshard_after_forward = value->flag();
  if (const auto value = map.find("keep_last_layer")) parallel.keep_last_layer = value->flag();
  if (const auto value = map.find("version")) parallel.fsdp_version = int(value->integer(1, 2));
  if (const auto value = map.find("tensor_lists")) {
    parallel.tensor_lists = value->flag();
    if (parallel.tensor_lists && parallel.fsdp_version != 0)
      value->fail("neither version of FSDP has lists");
  }
  map.finish();
}

std::array<Dimension, 3> read_order(const YamlValue& value) {
  std::array<Dimension, 3> order{};
  const std::vector<YamlValue> items = value.items();
  if (items.size() != order.size()) value.fail("expected [tensor, data, pipeline] in some order");
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = items[i].one_of<Dimension>(kDimensionNames);
    if (std::find(order.begin(), order.begin() + std::ptrdiff_t(i), order[i]) !=
        order.begin() + std::ptrdiff_t(i))
      items[i].fail("'" + items[i].text() + "' for the second time");
  }
  return order;
}

void read_parallel(YamlMap map, Job& job) {
  Parallelism& parallel = job.parallel;
  const auto read_size = [&](std::string_view key, int& size) {
    if (const auto value = map.find(key)) size = int(value->integer(1, kMostRanks));
  };
  read_size("data", parallel.data);
  read_size("tensor", parallel.tensor);
  read_size("pipeline", parallel.pipeline);
  read_size("context", parallel.context);
  if (const auto value = map.find("context_parallel"))
    parallel.context_parallel = value->one_of<ContextParallel>(kContextParallelNames);
  read_size("expert", parallel.expert);
  read_size("expert_tensor", parallel.expert_tensor);
  if (const auto value = map.find("expert_dispatch"))
    parallel.expert_dispatch = value->one_of<TokenDispatch>(kTokenDispatchNames);
  if (const auto value = map.find("overlap_experts")) parallel.overlap_experts = value->flag();
  read_size("virtual_stages", parallel.virtual_stages);
  if (const auto value = map.find("sequence_parallel")) parallel.sequence_parallel = value->flag();
  if (const auto value = map.find("zero_stage")) parallel.zero_stage = int(value->integer(0, 3));
  read_size("shard", parallel.shard_ranks);
  if (const auto value = map.find("order")) parallel.order = read_order(*value);
  const auto fsdp = map.find("fsdp"), layers = map.find("layers_per_stage");
  map.finish();
  if (fsdp) {
    if (parallel.zero_stage != 3) fsdp->fail("only zero_stage 3 has these options");
    read_fsdp(fsdp->map(), parallel);
  }
  if (layers)
    for (const YamlValue& item : layers->items())
      job.layers_per_stage.push_back(int(item.integer(1, kMostRanks)));
}

void read_batch(YamlMap map, Job& job) {
  job.batch.global = int(map.at("global").integer(1, kLargestBatch));
  job.batch.micro = int(map.at("micro").integer(1, kLargestBatch));
  if (job.model.family->is_sequence)
    job.batch.sequence = int(map.at("sequence").integer(1, kLargestBatch));
  else if (const auto value = map.find("sequence"))
    value->fail("samples of the family '" + std::string(job.model.family->name) +
                "' are no sequences");
  if (const auto value = map.find("attended_length"))
    job.batch.attended_length = int(value->integer(1, kLargestBatch));
  map.finish();
}

Precision read_precision(const YamlValue& value) {
  if (!value.is(YamlNode::Kind::Map)) {
    const DType type = value.one_of<DType>(kDTypeNames);
    return {type, type};
  }
  YamlMap map = value.map();
  Precision precision;
  precision.compute = map.at("compute").one_of<DType>(kDTypeNames);
  precision.gradients = map.at("gradients").one_of<DType>(kDTypeNames);
  map.finish();
  return precision;
}

void read_data_parallel(YamlMap map, DataParallelOptions& options) {
  const auto first = map.find("first_bucket"), bucket = map.find("bucket");
  if (bucket) {
    // PyTorch: a size given by the user is that of the first bucket too.
    options.bucket = Bytes(bucket->quantity(QuantityKind::ByteSize));
    options.first_bucket = options.bucket;
  }
  if (first) options.first_bucket = Bytes(first->quantity(QuantityKind::ByteSize));
  if (const auto value = map.find("overlap")) options.overlap = value->flag();
  if (const auto value = map.find("no_sync")) options.no_sync = value->flag();
  map.finish();
}

Noise read_noise(YamlMap map) {
  Noise noise;
  noise.seed = std::uint64_t(map.at("seed").integer(0, std::int64_t{1} << 53));
  const YamlValue amplitude = map.at("amplitude");
  noise.amplitude = amplitude.quantity(QuantityKind::Percentage, true);
  if (noise.amplitude >= 1)
    amplitude.fail("expected less than 100 %, got '" + amplitude.text() + "'");
  map.finish();
  return noise;
}

void read_stragglers(const YamlValue& list, Job& job) {
  for (const YamlValue& item : list.items()) {
    YamlMap map = item.map();
    const YamlValue rank = map.at("rank");
    const Straggler straggler = {int(rank.integer(0, kMostRanks)), map.at("slowdown").ratio()};
    map.finish();
    for (const Straggler& other : job.stragglers)
      if (other.rank == straggler.rank) rank.fail("rank " + rank.text() + " for the second time");
    job.stragglers.push_back(straggler);
  }
}

Host read_host(YamlMap map) {
  Host host;
  host.kernel = Seconds(map.at("kernel").quantity(QuantityKind::Duration, true));
  host.collective = Seconds(map.at("collective").quantity(QuantityKind::Duration, true));
  map.finish();
  return host;
}

// One of the kinds, or a list of modules.
Recomputation read_recomputation(const YamlValue& value) {
  if (!value.is(YamlNode::Kind::List)) return value.one_of<Recompute>(kRecomputeNames);
  Recomputation modules(Recompute::Modules);
  for (const YamlValue& item : value.items())
    modules.modules.add(item.one_of<RecomputeModule>(kRecomputeModuleNames));
  if (modules == Recomputation(Recompute::Modules)) value.fail("names no module");
  return modules;
}

// How the step runs on one rank.
void read_execution(YamlMap& map, Job& job) {
  if (const auto value = map.find("recompute")) job.recompute = read_recomputation(*value);
  if (const auto value = map.find("recompute_layers"))
    job.recompute_layers = int(value->integer(1, std::numeric_limits<int>::max()));
  if (const auto value = map.find("attention"))
    job.attention = value->one_of<AttentionKernel>(kAttentionKernelNames);
  // A synthetic model stands for no software.
  job.software =
      job.model.family->name == "synthetic" ? &bare_software() : find_software("megatron");
  if (const auto value = map.find("software")) job.software = &row_of(software_table(), *value);
  if (const auto value = map.find("pipeline_transfer"))
    job.pipeline_transfer = value->one_of<PipelineTransfer>(kPipelineTransferNames);
  if (const auto value = map.find("optimizer"))
    job.optimizer = value->one_of<OptimizerKind>(kOptimizerKindNames);
  if (const auto value = map.find("gradient_clipping")) job.gradient_clipping = value->flag();
  if (const auto value = map.find("cross_entropy"))
    job.cross_entropy = value->one_of<CrossEntropy>(kCrossEntropyNames);
  if (const auto value = map.find("expandable_segments")) job.expandable_segments = value->flag();
  if (const auto value = map.find("kernels")) job.kernels = value->one_of<Kernels>(kKernelsNames);
  if (const auto value = map.find("gradient_accumulation"))
    job.accumulation = value->one_of<GradientAccumulation>(kGradientAccumulationNames);
  if (const auto value = map.find("host")) job.host = read_host(value->map());
  job.data_parallel.no_sync = job.parallel.zero_stage < 2;
  if (const auto value = map.find("data_parallel"))
    read_data_parallel(value->map(), job.data_parallel);
}

// The folder is opened where the job is run.
DataSet read_data(YamlMap map) {
  DataSet data;
  data.format = map.at("format").one_of<DataFormat>(kDataFormatNames);
  const YamlValue path = map.at("path");
  path.text();  // nothing of the files can be overridden
  data.path = named_path(path);
  map.finish();
  return data;
}

// How the job is run on real devices, and how close a prediction must come.
void read_run(YamlMap& map, Job& job) {
  if (const auto value = map.find("compute"))
    job.compute = value->one_of<ComputeMode>(kComputeModeNames);
  if (const auto value = map.find("data")) job.data = read_data(value->map());
  if (const auto value = map.find("tolerance")) {
    job.tolerance = value->quantity(QuantityKind::Percentage);
    if (*job.tolerance >= 1) value->fail("expected less than 100 %, got '" + value->text() + "'");
  }
}

// What is simulated besides the plan: detail, disturbances, money.
void read_simulation(YamlMap& map, Job& job) {
  if (const auto value = map.find("fidelity"))
    job.fidelity = value->one_of<Fidelity>(kFidelityNames);
  if (const auto value = map.find("stragglers")) read_stragglers(*value, job);
  if (const auto value = map.find("noise")) job.noise = read_noise(value->map());
  if (const auto value = map.find("price")) {
    job.price = read_named(*value, FileKind::Price, read_price);
    if (value->is(YamlNode::Kind::Scalar)) job.price->name = stem_of(value->node().text);
  }
  if (const auto value = map.find("market")) {
    job.market = value->one_of<Market>(kMarketNames);
    if (!job.price) value->fail("a market needs a 'price'");
  }
  const bool is_sequence = job.model.family->is_sequence;
  const std::string_view total = is_sequence ? "total_tokens" : "total_samples";
  const std::string_view other = is_sequence ? "total_samples" : "total_tokens";
  if (const auto value = map.find(total)) job.total_tokens = value->ratio();
  if (const auto value = map.find(other))
    value->fail("this model counts '" + std::string(total) + "'");
}

// What the profile says of devices replaces what the topology says, but no GPU that is emulated.
void read_job_profile(const YamlValue& value, Job& job) {
  job.profile = read_named(value, FileKind::Profile, read_profile);
  bool has_gpus = false;
  for (NodeType& node : job.cluster.node_types) {
    has_gpus = has_gpus || node.gpu.arch != "cpu";
    const auto& gpu = job.profile->gpu;
    if (gpu && gpu->arch == node.gpu.arch && job.compute == ComputeMode::Real) node.gpu = *gpu;
    if (job.profile->cpu_seconds_per_byte && node.gpu.arch != "cpu")
      value.fail("the profile's cpu_per_byte is of ranks on CPUs, and the node '" + node.name +
                 "' has GPUs");
  }
  if (job.profile->kernel_issue && has_gpus && !job.host.sets() && job.compute == ComputeMode::Real)
    job.host.kernel = *job.profile->kernel_issue;
  if (job.profile->cpu_seconds_per_byte && job.compute == ComputeMode::Real)
    job.cluster.communication.cpu_seconds_per_byte = *job.profile->cpu_seconds_per_byte;
}

// A row of the table, or {file: FILE}, which is read when layout and batch are known to be right.
void read_schedule(const YamlValue& value, Job& job) {
  if (!value.is(YamlNode::Kind::Map)) {
    job.schedule = row_of(schedule_table(), value).name;
    return;
  }
  YamlMap map = value.map();
  job.schedule = std::filesystem::path(map.at("file").text()).filename().string();
  map.finish();
}

Model read_job_model(const YamlValue& value) {
  if (value.is(YamlNode::Kind::Map)) return read_model(value.map(), "inline");
  return read_named(value, FileKind::Model, [&](const YamlMap& map) {
    return read_model(map, file_of_model(named_path(value)));
  });
}

}  // namespace

namespace {

// A recorded step: every rank its own program, on the cluster that the file names.
Job read_recorded_job(YamlMap map, const std::string& name) {
  Job job;
  job.name = name;
  const YamlValue traces = map.at("chakra");
  traces.text();  // nothing of the files can be overridden
  const std::string prefix = named_path(traces);
  job.model = build_model(std::filesystem::path(prefix).filename().string(), recorded_family(), {});
  job.cluster = read_named(map.at("cluster"), FileKind::Cluster, read_cluster);
  job.gpus = int(map.at("gpus").integer(1, kMostRanks));
  job.parallel.pipeline = job.gpus;
  job.schedule = "recorded";
  job.optimizer = OptimizerKind::None;
  read_simulation(map, job);
  map.finish();
  check_recorded_job(map, job);
  ChakraTraces read = read_chakra(prefix, job.gpus);
  if (!read.problem.empty()) throw ConfigError(std::move(read.problem));
  job.recorded = std::move(read.plan);
  return job;
}

}  // namespace

Job read_job(YamlMap map, const std::string& name) {
  if (map.has("chakra")) return read_recorded_job(std::move(map), name);
  Job job;
  job.name = name;
  job.model = read_job_model(map.at("model"));
  job.cluster = read_named(map.at("cluster"), FileKind::Cluster, read_cluster);
  job.gpus = int(map.at("gpus").integer(1, kMostRanks));
  const YamlValue batch = map.at("batch");
  if (const auto value = map.find("parallel")) read_parallel(value->map(), job);
  read_batch(batch.map(), job);
  const bool needs_precision = job.model.family->name != "synthetic";
  const auto precision = needs_precision ? map.at("precision") : map.find("precision");
  if (precision) job.precision = read_precision(*precision);
  const auto schedule = job.parallel.pipeline > 1 ? map.at("schedule") : map.find("schedule");
  if (schedule) read_schedule(*schedule, job);
  read_execution(map, job);
  read_simulation(map, job);
  read_run(map, job);
  if (const auto value = map.find("profile")) read_job_profile(*value, job);
  map.finish();
  check_job(map, job);
  return job;
}

}  // namespace windtunnel

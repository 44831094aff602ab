#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>

#include "report/format.hpp"
#include "report/placement.hpp"
#include "report/report.hpp"

namespace windtunnel {

namespace {

using Json = nlohmann::ordered_json;

// Goes up when a key changes its meaning or goes away.
constexpr int kSchemaVersion = 1;

Json or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <class Unit>
Json or_null(const std::optional<Quantity<Unit>>& quantity) {
  return quantity ? Json(quantity->value) : Json(nullptr);
}

Json or_null_text(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

// Bytes are whole.
std::int64_t whole(Bytes bytes) {
  return std::llround(bytes.value);
}

Json breakdown_json(const Breakdown& time) {
  Json json;
  for (const BreakdownPart& part : kBreakdownParts)
    json[std::string(part.key)] = (time.*part.value).value;
  return json;
}

// Communication that no computation hides, as a mean over all ranks.
Json exposed_communication(const Report& report) {
  Seconds tensor, pipeline, data, other;
  double ranks = 0;
  for (const RankSummary& rank : report.ranks) {
    tensor += rank.time.tensor_communication * rank.represented;
    pipeline += rank.time.pipeline_transfer * rank.represented;
    data += rank.time.data_communication * rank.represented;
    other += rank.time.other_communication * rank.represented;
    ranks += rank.represented;
  }
  return {{"tensor", tensor.value / ranks},
          {"pipeline", pipeline.value / ranks},
          {"data", data.value / ranks},
          {"other", other.value / ranks},
          {"total", (tensor + pipeline + data + other).value / ranks}};
}

// The ranks of one pipeline coordinate run one program, so one of them tells the memory of all.
Json memory_by_stage(const Report& report) {
  std::map<int, const RankSummary*> stages;
  for (const RankSummary& rank : report.ranks) stages.try_emplace(rank.pipeline, &rank);
  Json list = Json::array();
  for (const auto& [pipeline, rank] : stages) {
    Json stage = {{"stage", pipeline}};
    for (std::size_t kind = 0; kind < kMemoryKindNames.size(); ++kind)
      stage[std::string(kMemoryKindNames[kind])] = whole(rank->memory[kind]);
    stage["total"] = whole(total(rank->memory));
    stage["capacity"] = whole(rank->capacity);
    list.push_back(std::move(stage));
  }
  return list;
}

Json verdict_json(const std::optional<Standing>& standing) {
  if (!standing) return nullptr;
  return {{"verdict", name_of(kCalibratedNames, standing->calibrated)},
          {"outside", standing->outside}};
}

Json interval_json(const std::optional<Standing>& standing) {
  if (!standing) return nullptr;
  const StepInterval& interval = standing->interval;
  const bool has_runs = interval.runs > 0;
  return {{"p10_s", has_runs ? Json(interval.p10.value) : Json(nullptr)},
          {"p90_s", has_runs ? Json(interval.p90.value) : Json(nullptr)},
          {"runs", interval.runs},
          {"of", interval.of}};
}

void add_results(Json& json, const Report& report) {
  const auto per_gpu_tflops = [&report](Flops flops) {
    return report.mfu ? Json(flops.value / report.step_time.value / report.gpus / 1e12)
                      : Json(nullptr);
  };
  json["step_time_s"] = report.step_time.value;
  json["interval"] = interval_json(report.standing);
  json["calibration"] = verdict_json(report.standing);
  json["samples_per_s"] = report.samples_per_s;
  json["tokens_per_s"] = or_null(report.tokens_per_s);
  json["tokens_per_s_per_gpu"] =
      report.tokens_per_s ? Json(*report.tokens_per_s / report.gpus) : Json(nullptr);
  json["model_flops_per_step"] = report.model_flops.value;
  json["hardware_flops_per_step"] = report.hardware_flops.value;
  json["causal_flops_per_step"] = report.causal_flops.value;
  json["model_tflops_per_gpu"] = per_gpu_tflops(report.model_flops);
  json["hardware_tflops_per_gpu"] = per_gpu_tflops(report.hardware_flops);
  json["peak_tflops_per_gpu"] = report.peak ? Json(report.peak->value / 1e12) : Json(nullptr);
  json["mfu"] = or_null(report.mfu);
  json["hfu"] = or_null(report.hfu);
  json["mfu_causal"] = or_null(report.mfu_causal);
  json["bubble_fraction"] = report.bubble_fraction;
  const RankSummary& critical = report.ranks[report.critical];
  json["critical_rank"] = critical.rank;
  json["critical_stage"] = critical.pipeline;
  json["breakdown_s"] = breakdown_json(critical.time);
  json["exposed_comm_s"] = exposed_communication(report);
  json["memory_bytes"] = memory_by_stage(report);
  json["usd_per_step"] = or_null(report.cost_per_step);
  json["usd_per_million_tokens"] = or_null(report.cost_per_million_tokens);
  json["usd_per_run"] = or_null(report.cost_of_run);
  json["run_time_s"] = or_null(report.run_time);
  json["energy_j_per_step"] = or_null(report.energy_per_step);
}

Json rank_order(const Parallelism& parallel) {
  Json order = Json::array();
  for (const Dimension dimension : parallel.order)
    order.push_back(name_text(kDimensionNames, dimension));
  return order;
}

Json stragglers_json(const Job& job) {
  Json list = Json::array();
  for (const Straggler& straggler : job.stragglers)
    list.push_back({{"rank", straggler.rank}, {"slowdown", straggler.slowdown}});
  return list;
}

Json noise_json(const Job& job) {
  if (!job.noise) return nullptr;
  return {{"seed", job.noise->seed}, {"amplitude", job.noise->amplitude}};
}

Json inputs_json(const Job& job) {
  const Parallelism& parallel = job.parallel;
  Json gpus = Json::array();
  for (const GpuSpec* gpu : gpu_types(job)) gpus.push_back(gpu->name);
  return {{"model", job.model.name},
          {"model_family", std::string(job.model.family->name)},
          {"parameters", job.model.parameter_count()},
          {"active_parameters", job.model.active_parameter_count()},
          {"trained_parameters", job.model.trained_parameter_count()},
          {"cluster", job.cluster.name},
          {"fabric", or_null_text(job.cluster.fabric)},
          {"gpus", job.gpus},
          {"gpu_types", gpus},
          {"layout",
           {{"tensor", parallel.tensor},
            {"pipeline", parallel.pipeline},
            {"data", parallel.data},
            {"context", parallel.context},
            {"context_parallel", parallel.context > 1 ? Json(name_text(kContextParallelNames,
                                                                       parallel.context_parallel))
                                                      : Json(nullptr)},
            {"expert", parallel.expert},
            {"expert_tensor", parallel.ranks_of_expert()},
            {"expert_dispatch", name_text(kTokenDispatchNames, parallel.expert_dispatch)},
            {"overlap_experts", parallel.overlap_experts},
            {"virtual_stages", parallel.virtual_stages},
            {"sequence_parallel", parallel.sequence_parallel},
            {"zero_stage", parallel.zero_stage},
            {"shard", parallel.shard_ranks > 0 ? Json(parallel.shard_ranks) : Json(nullptr)},
            {"rank_order", rank_order(parallel)},
            {"layers_per_stage", job.layers_per_stage}}},
          {"batch",
           {{"global", job.batch.global},
            {"micro", job.batch.micro},
            {"micro_batches", job.micro_batches()},
            {"sequence_tokens",
             job.model.family->is_sequence ? Json(job.batch.sequence) : Json(nullptr)},
            {"attended_length",
             job.batch.attended_length > 0 ? Json(job.batch.attended_length) : Json(nullptr)}}},
          {"precision",
           {{"compute", name_text(kDTypeNames, job.precision.compute)},
            {"gradients", name_text(kDTypeNames, job.precision.gradients)}}},
          {"schedule", job.schedule},
          {"pipeline_transfer", name_text(kPipelineTransferNames, job.pipeline_transfer)},
          {"recompute", recomputation_text(job.recompute)},
          {"recompute_layers", job.recompute_layers ? Json(*job.recompute_layers) : Json(nullptr)},
          {"attention", name_text(kAttentionKernelNames, job.attention)},
          {"optimizer", name_text(kOptimizerKindNames, job.optimizer)},
          {"expandable_segments", job.expandable_segments},
          {"fidelity", name_text(kFidelityNames, job.fidelity)},
          {"stragglers", stragglers_json(job)},
          {"noise", noise_json(job)},
          {"total_tokens", or_null(job.total_tokens)}};
}

// Every class of kernel whose efficiency is not simply the datasheet's peak.
Json efficiency_sources(const GpuSpec& gpu) {
  Json json = Json::object();
  for (std::size_t op = 0; op < kOpClassNames.size(); ++op)
    if (!gpu.efficiency[op].source.empty())
      json[std::string(kOpClassNames[op])] = gpu.efficiency[op].source;
  return json;
}

Json node_json(const NodeType& node) {
  return {{"node", node.name},
          {"source", or_null_text(node.source)},
          {"gpu", node.gpu.name},
          {"gpu_source", or_null_text(node.gpu.source)},
          {"efficiency_sources", efficiency_sources(node.gpu)},
          {"nccl_source", node.nccl ? or_null_text(node.nccl->source) : Json(nullptr)}};
}

// What the prediction rests on, and who says so.
Json assumptions_json(const Job& job) {
  Json nodes = Json::array();
  for (const NodeType& node : job.cluster.node_types) nodes.push_back(node_json(node));
  const Communication& communication = job.cluster.communication;
  const bool by_links = communication.model == CommunicationModel::AlphaBeta;
  Json json = {{"model_source", or_null_text(job.model.source)},
               {"cluster_source", or_null_text(job.cluster.source)},
               {"nodes", nodes},
               {"collectives",
                by_links ? communication.algorithm
                         : std::string(name_of(kCommunicationModelNames, communication.model))},
               {"collectives_source", or_null_text(communication.source)},
               // Every expert gets the same number of tokens.
               {"routing", job.model.has_experts() ? Json("balanced") : Json(nullptr)},
               {"power", nullptr},
               {"price", nullptr}};
  if (const auto& power = job.cluster.power)
    json["power"] = {{"utilization", power->utilization},
                     {"pue", power->pue},
                     {"source", or_null_text(power->source)}};
  if (const auto& price = job.price) {
    const auto& rate = job.market == Market::Spot ? price->spot : price->on_demand;
    json["price"] = {{"name", price->name},
                     {"provider", price->provider},
                     {"region", price->region},
                     {"instance", price->instance},
                     {"date", price->date},
                     {"market", name_text(kMarketNames, job.market)},
                     {"gpus_per_node", price->gpus_per_node},
                     {"usd_per_node_hour", or_null(rate)},
                     {"source", or_null_text(price->source)}};
  }
  return json;
}

}  // namespace

std::string to_json(const Report& report, const Job& job) {
  Json json = {{"schema_version", kSchemaVersion}, {"job", report.job}};
  add_results(json, report);
  json["inputs"] = inputs_json(job);
  json["assumptions"] = assumptions_json(job);
  // Names come from file names, which need not be valid UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace windtunnel

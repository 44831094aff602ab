#include "config/job_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "config/loaders.hpp"
#include "schedules/schedule.hpp"

namespace windtunnel {
namespace {

// Actions of one device; the plan of a larger job would not fit in memory.
constexpr std::int64_t kMostActions = 10'000'000;

// "data 8", or with the ranks that share a sample.
std::string replicas(const Parallelism& parallel) {
  if (parallel.context == 1) return fmt::format("data {}", parallel.data);
  return fmt::format("data {} x context {}", parallel.data, parallel.context);
}

void check_ranks(const YamlMap& map, const Job& job) {
  const Parallelism& parallel = job.parallel;
  std::int64_t product = 1;
  for (const int size : {parallel.data, parallel.context, parallel.tensor, parallel.pipeline})
    product = std::min(product * size, std::int64_t{1} << 40);  // no overflow
  if (product != job.gpus)
    place(map, {"parallel"})
        .fail(fmt::format("{} x tensor {} x pipeline {} = {} ranks, but gpus is {}",
                          replicas(parallel), parallel.tensor, parallel.pipeline, product,
                          job.gpus));
  if (parallel.shard_ranks > 0 && parallel.zero_stage == 0)
    place(map, {"parallel", "shard"}).fail("zero_stage 0 divides no states");
  if (parallel.shard_ranks == 1)
    place(map, {"parallel", "shard"})
        .fail("a shard of 1 rank divides nothing: that is data parallelism, zero_stage 0");
  if (parallel.shard_ranks > 0 && parallel.replicas() % parallel.shard_ranks != 0)
    place(map, {"parallel", "shard"})
        .fail(fmt::format("{} ranks to a shard do not divide the {} data-parallel ranks",
                          parallel.shard_ranks, parallel.replicas()));
  for (std::size_t i = 0; i < job.stragglers.size(); ++i)
    if (job.stragglers[i].rank >= job.gpus)
      place(map, {"stragglers"})
          .items()[i]
          .fail(fmt::format("rank {} does not exist; the job has ranks 0 to {}",
                            job.stragglers[i].rank, job.gpus - 1));
}

// The nodes that the job runs on: the first ones, filled.
int used_nodes(const YamlMap& map, const Job& job) {
  const ClusterSpec& cluster = job.cluster;
  int gpus = 0, nodes = 0;
  const YamlValue at = place(map, {"gpus"});
  for (const int type : cluster.type_of_node) {
    if (gpus >= job.gpus) break;
    const int more = cluster.node_types[std::size_t(type)].gpus;
    if (gpus > 0 && gpus + more > job.gpus)
      at.fail(fmt::format("{} GPUs do not fill whole nodes; {} or {} would", job.gpus, gpus,
                          gpus + more));
    gpus += more;
    ++nodes;
  }
  if (gpus < job.gpus)
    at.fail(fmt::format("{} GPUs, but the cluster '{}' has {}", job.gpus, cluster.name, gpus));
  return nodes;
}

void check_gpus(const YamlMap& map, const Job& job) {
  const int nodes = used_nodes(map, job);
  const auto type = std::size_t(job.precision.compute);
  for (int node = 0; node < nodes; ++node) {
    const NodeType& used =
        job.cluster.node_types[std::size_t(job.cluster.type_of_node[std::size_t(node)])];
    if (job.price && used.gpu.arch != "cpu" && job.price->gpus_per_node != used.gpus)
      place(map, {"price"})
          .fail(fmt::format("the price is for nodes of {} GPUs, but the node '{}' has {}",
                            job.price->gpus_per_node, used.name, used.gpus));
    // Times of a synthetic model or a recording do not depend on the GPU.
    const std::string_view family = job.model.family->name;
    if (used.gpu.peak[type] || family == "synthetic" || family == "recorded") continue;
    std::string known;
    for (std::size_t i = 0; i < kDTypeNames.size(); ++i)
      if (used.gpu.peak[i]) known += fmt::format("{}{}", known.empty() ? "" : ", ", kDTypeNames[i]);
    place(map, {"precision", "compute"})
        .fail(fmt::format("the GPU '{}' has no peak for {}, only for {}", used.gpu.name,
                          kDTypeNames[type], known));
  }
}

void check_price(const YamlMap& map, const Job& job) {
  if (!job.price) return;
  const bool has_rate = job.market == Market::OnDemand ? job.price->on_demand.has_value()
                                                       : job.price->spot.has_value();
  if (!has_rate)
    place(map, {"price"})
        .fail(fmt::format("the price has no {0} rate (market: {0})",
                          name_of(kMarketNames, job.market)));
}

// Sends that hold the compute stream until their receiver has come could wait for each other.
void check_transfers(const YamlMap& map, const Job& job) {
  if (job.pipeline_transfer == PipelineTransfer::Blocking &&
      job.cluster.communication.point_to_point == PointToPoint::Rendezvous)
    place(map, {"pipeline_transfer"})
        .fail(
            "blocking transfers cannot be rendezvous: two ranks that both send would wait for "
            "each other for ever (the cluster says communication.point_to_point: rendezvous)");
}

void check_batch(const YamlMap& map, const Job& job) {
  const std::int64_t together = std::int64_t{job.batch.micro} * job.parallel.data;
  if (job.batch.global % together != 0)
    place(map, {"batch", "global"})
        .fail(fmt::format("{} samples are no multiple of micro {} x data {} = {}", job.batch.global,
                          job.batch.micro, job.parallel.data, together));
  const std::int64_t actions = std::int64_t{job.micro_batches()} * job.parallel.virtual_stages;
  if (actions > kMostActions)
    place(map, {"batch", "global"})
        .fail(fmt::format("{} micro-batches x {} virtual stages; the most is {}",
                          job.micro_batches(), job.parallel.virtual_stages, kMostActions));
}

bool has_schedule_file(const YamlMap& map) {
  const YamlValue value = place(map, {"schedule"});
  return value.is(YamlNode::Kind::Map) && !is_root(YamlMap(value));
}

void check_schedule_limits(const YamlMap& map, const Job& job) {
  if (has_schedule_file(map)) return;
  const ScheduleFamily* schedule = find_schedule(job.schedule);
  const Parallelism& parallel = job.parallel;
  const std::string why =
      schedule->limits(parallel.pipeline, job.micro_batches(), parallel.virtual_stages);
  if (!why.empty())
    place(map, {"schedule"})
        .fail(fmt::format("'{}' with pipeline {}, virtual_stages {} and {} micro-batches: {}",
                          job.schedule, parallel.pipeline, parallel.virtual_stages,
                          job.micro_batches(), why));
}

bool is_block(const Layer& layer) {
  return layer.kind == LayerKind::Block;
}

void resolve_layers(const YamlMap& map, Job& job) {
  const std::int64_t stages = std::int64_t{job.parallel.pipeline} * job.parallel.virtual_stages;
  const auto layers = std::int64_t(job.model.layers.size());
  const YamlValue at = place(map, {"parallel", "layers_per_stage"});
  if (stages > layers)
    place(map, {"parallel"})
        .fail(fmt::format("{} stages (pipeline x virtual_stages), but the model has {} layers",
                          stages, layers));
  if (!job.layers_per_stage.empty()) {
    const std::int64_t sum =
        std::accumulate(job.layers_per_stage.begin(), job.layers_per_stage.end(), std::int64_t{0});
    if (std::int64_t(job.layers_per_stage.size()) != stages)
      at.fail(fmt::format("{} numbers for {} stages (pipeline x virtual_stages)",
                          job.layers_per_stage.size(), stages));
    if (sum != layers)
      at.fail(fmt::format("the sum is {}, but the model has {} layers, embedding and head included",
                          sum, layers));
    return;
  }
  job.layers_per_stage = split_layers(job.model, int(stages));
  const auto& split = job.layers_per_stage;
  if (!split.empty() && std::find(split.begin(), split.end(), 0) == split.end()) return;
  const auto blocks = std::count_if(job.model.layers.begin(), job.model.layers.end(), is_block);
  place(map, {"parallel"})
      .fail(fmt::format("{} blocks of the model do not divide into {} stages "
                        "(pipeline x virtual_stages); layers_per_stage can say how",
                        blocks, stages));
}

void check_recompute_layers(const YamlMap& map, const Job& job) {
  if (!job.recompute_layers) return;
  const YamlValue at = place(map, {"recompute_layers"});
  if (job.recompute == Recompute::None) at.fail("needs a 'recompute' that is not none");
  auto layer = job.model.layers.begin();
  std::int64_t most = 0;
  for (const int count : job.layers_per_stage) {
    most = std::max(most, std::int64_t(std::count_if(layer, layer + count, is_block)));
    layer += count;
  }
  if (*job.recompute_layers > most)
    at.fail(fmt::format("more than the {} blocks of a stage", most));
}

// Every module must be part of some block.
void check_recompute_modules(const YamlMap& map, const Job& job) {
  if (job.recompute.kind != Recompute::Modules) return;
  for (std::size_t i = 0; i < kRecomputeModuleNames.size(); ++i) {
    if (!job.recompute.modules.has(RecomputeModule(i))) continue;
    Slice slice = job.slice();
    RecomputeModules alone;
    alone.add(RecomputeModule(i));
    slice.recompute = {Recompute::Modules, alone};
    bool is_there = false;
    for (int layer = 0; layer < int(job.model.layers.size()) && !is_there; ++layer)
      is_there = !layer_work(job.model, layer, slice).recompute.empty();
    if (!is_there)
      place(map, {"recompute"})
          .fail(fmt::format("no block of the model has a '{}' to run again",
                            kRecomputeModuleNames[i]));
  }
}

void check_data(const YamlMap& map, const Job& job) {
  if (!job.data) return;
  const std::string why = data_complaint(job.model, job.data->format);
  if (!why.empty()) place(map, {"data", "format"}).fail(why);
}

void check_experts(const YamlMap& map, const Job& job) {
  const Parallelism& parallel = job.parallel;
  constexpr std::string_view kWhole = "experts that are not spread over ranks exchange no tokens";
  if (parallel.expert_dispatch != TokenDispatch::Direct && parallel.expert == 1)
    place(map, {"parallel", "expert_dispatch"}).fail(std::string(kWhole));
  if (parallel.overlap_experts) {
    const YamlValue at = place(map, {"parallel", "overlap_experts"});
    if (parallel.expert == 1) at.fail(std::string(kWhole));
    if (job.micro_batches() == 1) at.fail("there is no other micro-batch to compute meanwhile");
  }
  if (!parallel.folds_experts()) return;
  const YamlValue at = place(map, {"parallel", parallel.expert > 1 ? "expert" : "expert_tensor"});
  if (!job.model.has_experts())
    at.fail(fmt::format("the model '{}' has no experts to divide", job.model.name));
  const std::int64_t ranks = std::int64_t{parallel.tensor} * parallel.replicas();
  const std::int64_t parts = std::int64_t{parallel.expert} * parallel.ranks_of_expert();
  if (ranks % parts != 0)
    at.fail(
        fmt::format("expert {} x expert_tensor {} = {} do not divide the {} ranks of a pipeline "
                    "stage, tensor {} x {}",
                    parallel.expert, parallel.ranks_of_expert(), parts, ranks, parallel.tensor,
                    replicas(parallel)));
  if (parallel.zero_stage == 3)
    place(map, {"parallel", "zero_stage"})
        .fail(
            "experts that are laid out otherwise than the other weights need zero_stage 0, 1 "
            "or 2");
  if (parallel.shard_ranks > 0)
    place(map, {"parallel", "shard"})
        .fail(
            "experts that are laid out otherwise than the other weights have no shards of "
            "some ranks");
}

void check_context(const YamlMap& map, const Job& job) {
  if (job.parallel.context > 1 && !job.model.family->has_context_parallelism)
    place(map, {"parallel", "context"})
        .fail(fmt::format("models of the family '{}' have no context parallelism",
                          job.model.family->name));
}

// Places the complaint at the first kind of parallelism without which there is none.
void check_slice(const YamlMap& map, const Job& job) {
  const Slice slice = job.slice();
  const auto complaint = [&](const Slice& of) {
    return job.model.family->slice_limits(job.model, of);
  };
  const std::string why = complaint(slice);
  if (why.empty()) return;
  Slice whole = slice;
  whole.context = 1;
  if (complaint(whole).empty()) place(map, {"parallel", "context"}).fail(why);
  whole.expert = 1;
  if (complaint(whole).empty()) place(map, {"parallel", "expert"}).fail(why);
  whole.expert_tensor = 1;
  if (complaint(whole).empty()) place(map, {"parallel", "expert_tensor"}).fail(why);
  whole.tensor = 1;
  if (complaint(whole).empty()) place(map, {"parallel", "tensor"}).fail(why);
  place(map, {"batch", "sequence"}).fail(why);
}

}  // namespace

void check_recorded_job(const YamlMap& map, const Job& job) {
  check_ranks(map, job);
  check_gpus(map, job);
  check_price(map, job);
}

void check_job(const YamlMap& map, Job& job) {
  check_ranks(map, job);
  check_gpus(map, job);
  check_price(map, job);
  check_transfers(map, job);
  check_batch(map, job);
  check_schedule_limits(map, job);
  resolve_layers(map, job);
  check_recompute_layers(map, job);
  check_context(map, job);
  check_experts(map, job);
  check_slice(map, job);
  check_recompute_modules(map, job);
  check_data(map, job);
  if (has_schedule_file(map))
    job.schedule_of_file = read_schedule_file(place(map, {"schedule", "file"}), job);
}

}  // namespace windtunnel

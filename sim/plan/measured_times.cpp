#include "plan/measured_times.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/check.hpp"

namespace windtunnel {

namespace {

// These parameters say how often layers repeat, not how a layer looks.
bool repeats_layers(std::string_view parameter) {
  return parameter == "layers" || parameter == "blocks";
}

std::string model_text(const Model& model) {
  std::string text(model.family->name);
  for (const ParameterSpec& spec : model.family->parameters) {
    if (repeats_layers(spec.name)) continue;
    text += fmt::format(", {} {:g}", spec.name, fmt::join(model.parameters.list(spec.name), " "));
  }
  return text;
}

constexpr std::array<std::string_view, 3> kLayerKindNames = {"embedding", "block", "head"};

std::string layer_text(const Model& model, int index) {
  const Layer& layer = model.layers[std::size_t(index)];
  // The first layer has no input whose gradient it would compute.
  std::string text =
      fmt::format("{}{} of", index == 0 ? "first, " : "", name_of(kLayerKindNames, layer.kind));
  for (const Tensor& tensor : layer.tensors) text += fmt::format(" {}", tensor.numel);
  return text;
}

int nodes_of(const Cluster& cluster, const std::vector<int>& members) {
  std::set<int> nodes;
  for (const int rank : members) nodes.insert(cluster.gpus[std::size_t(rank)].node);
  return int(nodes.size());
}

// The curve over bytes of a work that moves `bytes_each` for each parameter.
MeasuredCurve by_bytes(MeasuredCurve curve, double bytes_each) {
  for (MeasuredCurve::Point& point : curve.points) point.size *= bytes_each;
  return curve;
}

}  // namespace

namespace {

// What only some layers have.
std::string shared_text(const Slice& slice) {
  std::string text;
  if (slice.context > 1) text += fmt::format(", context {}", slice.context);
  if (slice.attended_length > 0) text += fmt::format(", attended length {}", slice.attended_length);
  if (slice.expert > 1) text += fmt::format(", expert {}", slice.expert);
  if (slice.expert_tensor != slice.tensor)
    text += fmt::format(", expert tensor {}", slice.expert_tensor);
  return text;
}

// What chooses the kernels but for their sizes.
std::string kernels_text(const Job& job, int layer) {
  const Slice slice = job.slice(layer);
  return fmt::format("tensor {}{}, {}, gradients {}, attention {}, recompute {}{}", slice.tensor,
                     slice.sequence_parallel ? " with sequence parallelism" : "",
                     name_of(kDTypeNames, slice.type),
                     name_of(kDTypeNames, job.precision.gradients),
                     name_of(kAttentionKernelNames, slice.attention),
                     recomputation_text(slice.recompute), shared_text(slice));
}

}  // namespace

LayerIdentity layer_identity(const Job& job, int layer) {
  return {model_text(job.model), layer_text(job.model, layer),
          fmt::format("micro-batch {}, sequence {}, {}", job.batch.micro, job.slice().sequence,
                      kernels_text(job, layer))};
}

LayerKin layer_kin(const Job& job, int index) {
  const Layer& layer = job.model.layers[std::size_t(index)];
  const LayerWork work = layer_work(job.model, index, job.slice(index));
  double flops = 0, bytes = 0;
  for (const Piece& piece : work.forward)
    if (const auto* kernels = std::get_if<Work>(&piece.what)) {
      flops += kernels->flops.value;
      bytes += kernels->bytes.value;
    }
  return {fmt::format("{}{} of {} of {} tensors, {}", index == 0 ? "first, " : "",
                      name_of(kLayerKindNames, layer.kind), job.model.family->name,
                      layer.tensors.size(), kernels_text(job, index)),
          flops > 0 ? flops : bytes};
}

std::string optimizer_identity(const Job& job) {
  return fmt::format(
      "{}, {} weights, {} gradients, {}", name_of(kOptimizerKindNames, job.optimizer),
      name_of(kDTypeNames, job.precision.compute), name_of(kDTypeNames, job.precision.gradients),
      job.gradient_clipping ? "clipping" : "no clipping");
}

CollectivePurpose collective_purpose(GroupKind group, CollectiveKind kind) {
  const bool is_data =
      group == GroupKind::Data || group == GroupKind::Shard || group == GroupKind::Replica;
  if (!is_data) return CollectivePurpose::Plain;
  return kind == CollectiveKind::AllGather ? CollectivePurpose::Weights
                                           : CollectivePurpose::Gradients;
}

std::optional<MeasuredTimes::Pass> MeasuredTimes::pass(int layer, ActionType pass) const {
  if (layer < 0 || layer >= int(layers.size())) return std::nullopt;
  return layers[std::size_t(layer)][std::size_t(pass)];
}

const MeasuredCurve* MeasuredTimes::collective(GroupKind group, CollectiveKind kind, int ranks,
                                               int nodes) const {
  for (const CollectivePurpose purpose :
       {collective_purpose(group, kind), CollectivePurpose::Plain})
    for (const CollectiveTime& time : collectives)
      if (time.kind == kind && time.purpose == purpose && time.ranks == ranks &&
          time.nodes == nodes)
        return &time.curve;
  return nullptr;
}

const MeasuredCurve* MeasuredTimes::message(int nodes) const {
  for (const MessageTime& time : messages)
    if (time.nodes == nodes) return &time.curve;
  return nullptr;
}

const SlowdownBeside* MeasuredTimes::slowdown(int ranks, int nodes) const {
  for (const SlowdownBeside& slowdown : slowdowns)
    if (slowdown.ranks == ranks && slowdown.nodes == nodes) return &slowdown;
  return nullptr;
}

namespace {

Seconds between(const std::map<double, Seconds>& times, double size) {
  const auto above = times.upper_bound(size);
  if (above == times.begin()) return above->second * (size / above->first);
  const auto below = std::prev(above);
  if (above == times.end()) return below->second * (size / below->first);
  const double exponent =
      std::log(above->second / below->second) / std::log(above->first / below->first);
  return below->second * std::pow(size / below->first, exponent);
}

// Of a layer that was not measured itself.
std::optional<Seconds> time_of_kin(const std::vector<LayerTime>& measured, const Job& job,
                                   int layer, std::size_t pass) {
  const LayerKin kin = layer_kin(job, layer);
  const std::string tensors = layer_text(job.model, layer);
  std::map<double, Seconds> alike, any;
  for (const LayerTime& time : measured) {
    if (time.kin.name != kin.name || !time.passes[pass]) continue;
    any.try_emplace(time.kin.size, time.passes[pass]->time);
    if (time.identity.layer == tensors) alike.try_emplace(time.kin.size, time.passes[pass]->time);
  }
  if (any.empty()) return std::nullopt;
  return between(alike.empty() ? any : alike, kin.size);
}

}  // namespace

MeasuredTimes measured_times(const Job& job) {
  MeasuredTimes times;
  if (!job.profile) return times;
  const Profile& profile = *job.profile;
  times.collectives = profile.collectives;
  times.messages = profile.messages;
  if (job.compute == ComputeMode::Emulated || job.recorded) return times;
  times.slowdowns = profile.slowdowns;
  for (int layer = 0; layer < int(job.model.layers.size()); ++layer) {
    auto& passes = times.layers.emplace_back();
    const LayerIdentity identity = layer_identity(job, layer);
    for (const LayerTime& time : profile.layers)
      if (time.identity == identity)
        for (std::size_t pass = 0; pass < passes.size(); ++pass)
          if (time.passes[pass]) passes[pass] = {time.passes[pass]->time};
    for (std::size_t pass = 0; pass < passes.size(); ++pass)
      if (!passes[pass])
        if (const auto time = time_of_kin(profile.layers, job, layer, pass))
          passes[pass] = {*time, true};
  }
  for (const OptimizerTime& time : profile.optimizers) {
    if (time.identity != optimizer_identity(job)) continue;
    times.update = by_bytes(time.update, optimizer_traffic(job));
    if (time.norm) times.norm = by_bytes(*time.norm, bytes_of(job.precision.gradients));
  }
  return times;
}

namespace {

// What a plan needs, by name: measured, or predicted by the topology's models.
class Coverage {
 public:
  Coverage(const Job& job, const Plan& plan)
      : job_(job),
        plan_(plan),
        times_(measured_times(job)),
        cluster_(build_cluster(job.cluster, job.gpus)) {
    for (const Program& program : plan.programs)
      for (const Op& op : program.ops) add(op, program.pipeline);
  }

  std::string text() const {
    std::string text;
    if (!measured_.empty()) text += fmt::format("  measured: {}\n", fmt::join(measured_, ", "));
    if (!other_sizes_.empty())
      text += fmt::format("  from other sizes: {}\n", fmt::join(other_sizes_, ", "));
    if (!modelled_.empty())
      text += fmt::format("  by the topology's models: {}\n", fmt::join(modelled_, ", "));
    return text;
  }

 private:
  void note(bool is_measured, std::string what) {
    (is_measured ? measured_ : modelled_).insert(std::move(what));
  }

  void add(const Op& op, int pipeline) {
    Coordinates at;
    at.pipeline = pipeline;
    const int rank = plan_.grid.rank(at);
    if (op.kind == OpKind::Collective) {
      add_collective(op.group, op.collective, rank);
      if (op.stream != Stream::Compute) add_slowdown(op.group, rank);
    }
    if (op.kind == OpKind::Send) {
      at.pipeline = op.peer;
      const int nodes = nodes_of(cluster_, {rank, plan_.grid.rank(at)});
      note(times_.message(nodes) != nullptr,
           nodes == 1 ? "messages in a node" : "messages between nodes");
    }
    if (op.kind != OpKind::Compute) return;
    for (const BlockPiece& piece : plan_.blocks[std::size_t(op.block)]) {
      if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what)) {
        add_collective(group_kind(collective->group), collective->kind, rank);
        if (collective->overlaps_next) add_slowdown(group_kind(collective->group), rank);
      } else if (piece.layer >= 0)
        add_pass(piece.layer, piece.pass);
      else
        note((piece.piece.name == kOptimizerName ? times_.update : times_.norm).has_value(),
             std::string(piece.piece.name));
    }
  }

  void add_pass(int layer, ActionType pass) {
    const std::string& name = job_.model.layers[std::size_t(layer)].name;
    const auto time = times_.pass(layer, pass);
    if (time && time->other_sizes)
      other_sizes_.insert(name);
    else
      note(time.has_value(), name);
  }

  void add_collective(GroupName group, CollectiveKind kind, int rank) {
    const std::vector<int> members = plan_.grid.members(group, rank);
    if (members.size() == 1) return;
    const int nodes = nodes_of(cluster_, members);
    note(times_.collective(group.kind, kind, int(members.size()), nodes) != nullptr,
         fmt::format("{} of {} ranks on {} node{}", name_of(kCollectiveKindNames, kind),
                     members.size(), nodes, nodes == 1 ? "" : "s"));
  }

  void add_slowdown(GroupName group, int rank) {
    const std::vector<int> members = plan_.grid.members(group, rank);
    if (members.size() == 1 || job_.compute == ComputeMode::Emulated) return;
    const int nodes = nodes_of(cluster_, members);
    note(times_.slowdown(int(members.size()), nodes) != nullptr,
         fmt::format("kernels beside collectives of {} ranks on {} node{}", members.size(), nodes,
                     nodes == 1 ? "" : "s"));
  }

  const Job& job_;
  const Plan& plan_;
  MeasuredTimes times_;
  Cluster cluster_;
  std::set<std::string> measured_, other_sizes_, modelled_;
};

}  // namespace

std::string profile_coverage(const Job& job, const Plan& plan) {
  if (!job.profile) return "";
  const Profile& profile = *job.profile;
  return fmt::format("profile {}, {}, {}\n{}", profile.name, profile.date,
                     profile.noise.empty() ? "quiet" : "noisy: " + profile.noise,
                     Coverage(job, plan).text());
}

}  // namespace windtunnel

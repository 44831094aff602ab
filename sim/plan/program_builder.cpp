#include "plan/program_builder.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace windtunnel {

namespace {

Purpose purpose_of(ActionType type) {
  switch (type) {
    case ActionType::F:
      return Purpose::Forward;
    case ActionType::B:
      return Purpose::Backward;
    case ActionType::I:
      return Purpose::InputGradient;
    case ActionType::W:
      return Purpose::WeightGradient;
  }
  SIM_CHECK(false, "unknown action type");
  return Purpose::Forward;
}

}  // namespace

ProgramBuilder::ProgramBuilder(const PlanContext& context, BlockTable& blocks, int pipeline)
    : context_(context),
      job_(context.job),
      grid_(context.plan.grid),
      schedule_(context.plan.schedule),
      own_(context, pipeline),
      blocks_(blocks),
      weight_bytes_(weight_bytes(job_.precision.compute)),
      gradient_bytes_(bytes_of(job_.precision.gradients)) {
  program_.pipeline = pipeline;
}

Program ProgramBuilder::build() {
  set_resident_memory();
  const std::vector<Part> parts = parts_of(context_, own_);
  const bool reduces_each_pass = own_.has_copies() && !job_.data_parallel.no_sync;
  // Gather of the part at hand; compute op of the part before it; what the part must wait for
  // besides.
  int gather = -1, before = -1, wait = -1;
  if (!parts.empty() && parts.front().gather) gather = add_gather(parts.front(), {});
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const Part* next = i + 1 < parts.size() && parts[i + 1].gather ? &parts[i + 1] : nullptr;
    // A backward pass that reduces ends with a wait for its reductions. Source: PyTorch, DDP
    // finalize_backward and FSDP _post_backward_final_callback.
    const bool waits =
        part.closes && reduces_each_pass && computes_weight_gradient(part.action.type);
    // FSDP gathers one unit ahead: the next weights are on the way while this part computes, once
    // the part before it has freed its own (rate limit of two units). Source: FSDP notes,
    // prefetching. Not ahead of such a wait, nor while this part holds the same weights.
    const bool holds_same =
        next && reads_weights(part.action.type) && next->layers.first == part.layers.first;
    const bool ahead = next && !waits && !holds_same && !job_.parallel.tensor_lists;
    int next_gather = -1;
    if (ahead)
      next_gather = add_gather(*next, before < 0 ? std::vector<int>{} : std::vector{before});
    before = add_compute(part, gather, wait);
    add_reductions(part, before);
    wait = waits ? last_communication_ : -1;
    // The wait is for reductions of earlier parts alone where all of this one is frozen.
    if (next && !ahead)
      next_gather = add_gather(*next, wait >= 0 ? std::vector{before, wait} : std::vector{before});
    gather = next_gather;
    if (part.closes) add_send(part, before);
  }
  add_step_end();
  return std::move(program_);
}

// ---- ops ----------------------------------------------------------------------------------------

int ProgramBuilder::add(Op op) {
  const int index = int(program_.ops.size());
  if (op.kind == OpKind::Compute) last_compute_ = index;
  if (op.stream == Stream::Communication) last_communication_ = index;
  program_.ops.push_back(std::move(op));
  return index;
}

// Source: Rajbhandari et al. 2020, arXiv:1910.02054, section 5: stage 1 divides the optimizer
// state, stage 2 the gradients too, stage 3 the weights too.
void ProgramBuilder::set_resident_memory() {
  ParameterCount count;
  double frozen_bytes = 0;
  for (int layer = 0; layer < int(job_.model.layers.size()); ++layer) {
    if (!own_.owns(layer)) continue;
    const ParameterCount of_layer = own_.count_of(layer);
    count.add(of_layer);
    frozen_bytes +=
        double(of_layer.frozen) *
        frozen_weight_bytes(job_.precision.compute, job_.model.layers[std::size_t(layer)].kind);
  }
  program_.parameters = count.total();
  held_ = own_.sharded(count);
  const double parameters = double(count.trained());
  const int zero = job_.parallel.zero_stage;
  const auto set = [&](MemoryKind kind, double bytes_per_parameter, bool divided) {
    program_.at_start[std::size_t(kind)] =
        Bytes((divided ? held_ : parameters) * bytes_per_parameter);
  };
  const StateBytes state = state_bytes(job_);
  set(MemoryKind::Weights, state.weights, zero == 3);
  program_.at_start[std::size_t(MemoryKind::Weights)] +=
      Bytes(frozen_bytes / (zero == 3 ? own_.shards() : 1));
  set(MemoryKind::Gradients, state.gradients, zero >= 2);
  set(MemoryKind::Optimizer, state.optimizer, zero >= 1);
  if (!own_.has_copies()) return;
  const Software& software = *job_.software;
  double buffer = std::min(parameters, software.reduction_buffer) * gradient_bytes_;
  if (software.copies_gradients && zero == 0) buffer += parameters * gradient_bytes_;
  program_.at_start[std::size_t(MemoryKind::Buffers)] = Bytes(buffer);
}

// Parameters of each gather that the layers need: all together, or one tensor after the other.
std::vector<std::int64_t> ProgramBuilder::gathers_of(LayerRange layers) const {
  if (!job_.parallel.tensor_lists) return {own_.count_of(layers).total()};
  std::vector<std::int64_t> tensors;
  for (int layer = layers.first; layer < layers.end; ++layer)
    for (const Tensor& tensor : own_.tensors_of(layer))
      if (const std::int64_t numel = own_.numel_of(tensor); numel >= kSmallestPartitioned)
        tensors.push_back(numel);
  return tensors;
}

// The last op; -1: nothing to gather.
int ProgramBuilder::add_gather(const Part& part, const std::vector<int>& after) {
  int last = -1;
  for (const std::int64_t parameters : gathers_of(part.layers)) {
    const double bytes = double(parameters) * weight_bytes_;
    Op op{.kind = OpKind::Collective,
          .stream = Stream::Communication,
          .purpose = Purpose::ParameterGather,
          .stage = part.action.stage,
          .micro_batch = part.action.micro_batch,
          .first_layer = part.layers.first,
          .end_layer = part.layers.end,
          .group = GroupKind::Shard,
          .collective = CollectiveKind::AllGather,
          .bytes = Bytes(bytes),
          .after = after};
    op.on_start = {{MemoryKind::Buffers, bytes}};
    last = add(std::move(op));
  }
  return last;
}

std::optional<int> ProgramBuilder::add_receive(const Part& part) {
  const Action& action = part.action;
  if (!part.opens || action.type == ActionType::W) return std::nullopt;
  const bool forward = action.type == ActionType::F;
  const int from = forward ? action.stage - 1 : action.stage + 1;
  if (from < 0 || from >= schedule_.stages()) return std::nullopt;
  const int peer = schedule_.device_of_stage[std::size_t(from)];
  if (peer == program_.pipeline) return std::nullopt;
  const int boundary = context_.layers_of_stage[std::size_t(forward ? from : action.stage)].end - 1;
  const bool blocking = job_.pipeline_transfer == PipelineTransfer::Blocking;
  return add({.kind = OpKind::Receive,
              .stream = blocking ? Stream::Compute : Stream::Receive,
              .purpose = forward ? Purpose::Activation : Purpose::Gradient,
              .stage = from,
              .micro_batch = action.micro_batch,
              .peer = peer,
              .bytes = context_.works[std::size_t(boundary)].output});
}

void ProgramBuilder::add_send(const Part& part, int compute) {
  const Action& action = part.action;
  if (action.type == ActionType::W) return;
  const bool forward = action.type == ActionType::F;
  const int to = forward ? action.stage + 1 : action.stage - 1;
  if (to < 0 || to >= schedule_.stages()) return;
  const int peer = schedule_.device_of_stage[std::size_t(to)];
  if (peer == program_.pipeline) return;
  const int boundary = context_.layers_of_stage[std::size_t(forward ? action.stage : to)].end - 1;
  const bool blocking = job_.pipeline_transfer == PipelineTransfer::Blocking;
  add({.kind = OpKind::Send,
       .stream = blocking  ? Stream::Compute
                 : forward ? Stream::SendActivation
                           : Stream::SendGradient,
       .purpose = forward ? Purpose::Activation : Purpose::Gradient,
       .stage = action.stage,
       .micro_batch = action.micro_batch,
       .peer = peer,
       .bytes = context_.works[std::size_t(boundary)].output,
       .after = {compute}});
}

int ProgramBuilder::add_compute(const Part& part, int gather, int wait) {
  Op op{.kind = OpKind::Compute,
        .stream = Stream::Compute,
        .purpose = purpose_of(part.action.type),
        .stage = part.action.stage,
        .micro_batch = part.action.micro_batch,
        .first_layer = part.layers.first,
        .end_layer = part.layers.end,
        .block = blocks_.layers(part.action.type, part.layers, copies_of(part)),
        .releases_weights = part.release};
  if (const std::optional<int> receive = add_receive(part)) op.after.push_back(*receive);
  if (gather >= 0) op.after.push_back(gather);
  if (wait >= 0) op.after.push_back(wait);
  set_compute_memory(part, op);
  return add(std::move(op));
}

FlatCopies ProgramBuilder::copies_of(const Part& part) const {
  TensorCount gathered, reduced;
  if (part.gather)
    for (const std::int64_t parameters : gathers_of(part.layers)) gathered.add(parameters);
  for (const GradientBucket& bucket : part.buckets) reduced.add(bucket.parameters);
  if (job_.parallel.tensor_lists) return list_copies(job_, grid_.shard_ranks, gathered, reduced);
  return flat_copies(job_, gathered.parameters, reduced.parameters);
}

void ProgramBuilder::set_compute_memory(const Part& part, Op& op) const {
  const ActionType type = part.action.type;
  double activation = 0, logits = 0, held = 0;
  // A backward pass goes from the last layer to the first, rebuilds what was dropped and has its
  // working set layer by layer; `freed` is what it has given back when it comes to a layer.
  double buffer = 0, freed = 0;
  for (int layer = part.layers.end - 1; layer >= part.layers.first; --layer) {
    const LayerWork& work = context_.works[std::size_t(layer)];
    activation += work.activation.value;
    logits += work.logits.value;
    held += work.held.value;
    const double rebuilt = work.recompute_buffer.value;
    if (job_.software->has_runtime) {
      buffer = std::max(buffer, rebuilt + work.working.value - freed);
      freed += work.activation.value + work.logits.value;
      if (type == ActionType::I) freed -= work.held.value;
    } else {
      buffer = std::max(buffer, rebuilt);
    }
  }
  const auto change = [](std::vector<MemoryChange>& changes, MemoryKind kind, double bytes) {
    if (bytes != 0) changes.push_back({kind, bytes});
  };
  if (type == ActionType::F) {
    change(op.on_start, MemoryKind::Activations, activation);
    change(op.on_start, MemoryKind::Logits, logits);
  }
  // ZeRO-2 and 3 keep only a shard of the gradients: the whole ones live until they are reduced.
  // They come as the working set goes.
  double gradients = 0;
  if (part.new_gradients) {
    const ParameterCount parameters = own_.count_of(part.layers);
    gradients = gradient_bytes_ * double((grid_.data > 1 ? parameters.shared : 0) +
                                         (own_.expert_shards() > 1 ? parameters.expert : 0));
    buffer = std::max(buffer - gradients, 0.0);
  }
  if (type == ActionType::B || type == ActionType::I) {
    change(op.on_start, MemoryKind::Buffers, buffer);
    change(op.on_end, MemoryKind::Buffers, -buffer);
    change(op.on_end, MemoryKind::Logits, -logits);
  }
  // The input half keeps what the weight half needs.
  if (type == ActionType::B) change(op.on_end, MemoryKind::Activations, -activation);
  if (type == ActionType::I) change(op.on_end, MemoryKind::Activations, held - activation);
  if (type == ActionType::W) change(op.on_end, MemoryKind::Activations, -held);
  if (part.release)
    for (const std::int64_t gathered : gathers_of(part.layers))
      change(op.on_end, MemoryKind::Buffers, -double(gathered) * weight_bytes_);
  change(op.on_start, MemoryKind::Buffers, gradients);
}

void ProgramBuilder::add_reductions(const Part& part, int compute) {
  for (const GradientBucket& bucket : part.buckets) {
    if (job_.data_parallel.overlap || !job_.data_parallel.no_sync)
      add_reduction(part.layers, bucket, compute);
    else
      deferred_.emplace_back(part.layers, bucket);
  }
}

// One bucket: an all-reduce; with ZeRO a reduce-scatter inside the shard group, then an all-reduce
// of the shard across the replicas of that group (HSDP). Without overlap it takes the compute
// stream.
void ProgramBuilder::add_reduction(LayerRange layers, const GradientBucket& bucket, int compute) {
  const int zero = job_.parallel.zero_stage;
  const double bytes = double(bucket.parameters) * gradient_bytes_;
  Op op{.kind = OpKind::Collective,
        .stream = job_.data_parallel.overlap ? Stream::Communication : Stream::Compute,
        .purpose = Purpose::GradientReduction,
        .first_layer = layers.first,
        .end_layer = layers.end,
        .group = bucket.expert ? GroupKind::ExpertData : own_.shard_group(),
        .collective = zero == 0 ? CollectiveKind::AllReduce : CollectiveKind::ReduceScatter,
        .bytes = Bytes(bytes),
        .after = {compute}};
  if (zero >= 2) op.on_end = {{MemoryKind::Buffers, -bytes}};
  Op across = op;
  add(std::move(op));
  if (zero == 0 || grid_.shard_ranks == grid_.data) return;
  across.group = GroupKind::Replica;
  across.collective = CollectiveKind::AllReduce;
  across.bytes = Bytes(bytes / grid_.shard_ranks);
  across.on_end.clear();
  add(std::move(across));
}

// ---- end of the step ----------------------------------------------------------------------------

// With sequence parallelism each tensor rank has seen other tokens in the layers between the
// splits, so tensors that are not divided (norms, biases after a row-parallel GEMM) sum their
// gradients; norms of queries and keys do without it too, as each rank has other heads. The
// embedding is before the first split. Source: Megatron-LM, finalize_model_grads
// (_allreduce_layernorm_grads).
void ProgramBuilder::add_replicated_reduction() {
  if (grid_.tensor == 1) return;
  const auto is_summed = [&](const Tensor& tensor) {
    return !tensor.split && !tensor.frozen && tensor.experts == 0 &&
           (job_.parallel.sequence_parallel || tensor.of_heads);
  };
  std::int64_t numel = 0;
  for (int layer = 0; layer < int(job_.model.layers.size()); ++layer) {
    if (!own_.owns(layer) || job_.model.layers[std::size_t(layer)].kind == LayerKind::Embedding)
      continue;
    for (const Tensor& tensor : own_.tensors_of(layer))
      if (is_summed(tensor)) numel += tensor.numel;
  }
  if (numel == 0) return;
  Op op{.kind = OpKind::Collective,
        .stream = Stream::Compute,
        .purpose = Purpose::ReplicatedReduction,
        .group = GroupKind::Tensor,
        .collective = CollectiveKind::AllReduce,
        .bytes = Bytes(double(numel) * gradient_bytes_ / gradient_shards())};
  if (last_communication_ >= 0) op.after = {last_communication_};
  add(std::move(op));
}

// Copies of a tied embedding on the first and the last stage add up their gradients.
// Source: Megatron-LM, finalize_model_grads.
void ProgramBuilder::add_embedding_reduction() {
  const auto [first, last] = grid_.embedding_ends;
  if (first == last || (program_.pipeline != first && program_.pipeline != last)) return;
  const Tensor& tied = job_.model.layers.front().tensors.front();
  if (tied.frozen) return;
  const std::int64_t numel = tied.split ? tied.numel / grid_.tensor : tied.numel;
  add({.kind = OpKind::Collective,
       .stream = job_.data_parallel.overlap ? Stream::Communication : Stream::Compute,
       .purpose = Purpose::EmbeddingReduction,
       .group = GroupKind::Embedding,
       .collective = CollectiveKind::AllReduce,
       .bytes = Bytes(double(numel) * gradient_bytes_ / gradient_shards()),
       .after = {last_compute_}});
}

int ProgramBuilder::add_single(std::string_view name, const Work& work) {
  Op op{.purpose = Purpose::Optimizer, .block = blocks_.single(name, work)};
  if (last_communication_ >= 0) op.after = {last_communication_};
  return add(std::move(op));
}

// Norm of all gradients for clipping: reads the gradients once, then sums one fp32 number over the
// ranks that hold different ones.
void ProgramBuilder::add_step_end() {
  for (const auto& [layers, bucket] : deferred_) add_reduction(layers, bucket, last_compute_);
  add_replicated_reduction();
  add_embedding_reduction();
  // A stage without parameters takes part all the same: the norm is summed over all stages.
  if (job_.model.parameter_count() == 0) return;
  if (job_.gradient_clipping) {
    const int norm = add_single(
        kNormName, {.op = OpClass::Elementwise, .bytes = Bytes(held_ * gradient_bytes_)});
    const GroupKind group =
        own_.shards() > 1 || own_.folds_experts() ? GroupKind::World : GroupKind::Model;
    if (grid_.members(group, 0).size() > 1)
      add({.kind = OpKind::Collective,
           .stream = Stream::Compute,
           .purpose = Purpose::NormReduction,
           .group = group,
           .collective = CollectiveKind::AllReduce,
           .bytes = Bytes(4),
           .after = {norm}});
  }
  if (job_.optimizer == OptimizerKind::None) return;
  Work update = {.op = OpClass::Optimizer, .bytes = Bytes(held_ * optimizer_traffic(job_))};
  int tensors = 0;
  for (int layer = 0; layer < int(job_.model.layers.size()); ++layer)
    if (own_.owns(layer))
      for (const Tensor& tensor : own_.tensors_of(layer)) tensors += tensor.frozen ? 0 : 1;
  update.kernels = optimizer_kernels(job_, tensors);
  update.is_awaited = optimizer_is_awaited(job_);
  const int optimizer = add_single(kOptimizerName, update);
  if (job_.parallel.zero_stage == 1 || job_.parallel.zero_stage == 2) add_final_gathers(optimizer);
  if (job_.parallel.tensor_lists) add_gather_of_small_tensors(optimizer);
}

// All of them at once, then the pieces of each.
void ProgramBuilder::add_gather_of_small_tensors(int optimizer) {
  TensorCount small;
  for (int layer = 0; layer < int(job_.model.layers.size()); ++layer) {
    if (!own_.owns(layer)) continue;
    for (const Tensor& tensor : own_.tensors_of(layer))
      if (const std::int64_t numel = own_.numel_of(tensor); numel < kSmallestPartitioned)
        small.add(numel);
  }
  if (small.tensors == 0 || grid_.shard_ranks == 1) return;
  add({.kind = OpKind::Collective,
       .stream = Stream::Communication,
       .purpose = Purpose::ParameterGather,
       .group = GroupKind::Shard,
       .collective = CollectiveKind::AllGather,
       .bytes = Bytes(small.parameters * weight_bytes_),
       .after = {optimizer}});
  const FlatCopies copies = list_copies(job_, grid_.shard_ranks, small, {});
  Work work = elementwise(copies.after_gather);
  work.kernels = copies.gathered_pieces;
  work.is_awaited = true;
  add_single(kUnshardName, work);
}

// ZeRO-1 and 2: every rank has updated its shard of the weights and gathers the others', one
// collective per virtual stage and one more for its experts.
void ProgramBuilder::add_final_gathers(int optimizer) {
  for (int stage = 0; stage < schedule_.stages(); ++stage) {
    if (schedule_.device_of_stage[std::size_t(stage)] != program_.pipeline) continue;
    const LayerRange layers = context_.layers_of_stage[std::size_t(stage)];
    const ParameterCount parameters = own_.count_of(layers);
    if (own_.shards() > 1)
      add_final_gather(layers, own_.shard_group(), parameters.shared, optimizer);
    if (own_.expert_shards() > 1)
      add_final_gather(layers, GroupKind::ExpertData, parameters.expert, optimizer);
  }
}

void ProgramBuilder::add_final_gather(LayerRange layers, GroupKind group, std::int64_t parameters,
                                      int optimizer) {
  if (parameters == 0) return;
  add({.kind = OpKind::Collective,
       .stream = Stream::Communication,
       .purpose = Purpose::ParameterGather,
       .first_layer = layers.first,
       .end_layer = layers.end,
       .group = group,
       .collective = CollectiveKind::AllGather,
       .bytes = Bytes(double(parameters) * weight_bytes_),
       .after = {optimizer}});
}

}  // namespace windtunnel

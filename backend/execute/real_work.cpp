#include "backend/execute/real_work.hpp"

#include <fmt/format.h>

#include <future>
#include <mutex>
#include <optional>

#include "backend/execute/device.hpp"
#include "backend/execute/pass_clock.hpp"
#include "backend/model/data.hpp"
#include "backend/model/packed_samples.hpp"
#include "backend/model/scalar_type.hpp"
#include "base/check.hpp"

namespace windtunnel {

namespace {

// A layer's forward pass of one micro-batch, until its backward pass.
struct Saved {
  at::Tensor input, output;  // output undefined: to be computed again
};

// Tensors that wait for a message to leave or for the stage that takes them.
class Mailbox {
 public:
  void put(Purpose purpose, int stage, int micro_batch, at::Tensor tensor) {
    const std::lock_guard lock(mutex_);
    tensors_[{purpose, stage, micro_batch}] = std::move(tensor);
  }
  at::Tensor take(Purpose purpose, int stage, int micro_batch) {
    const std::lock_guard lock(mutex_);
    const auto found = tensors_.find({purpose, stage, micro_batch});
    SIM_CHECK(found != tensors_.end(), "a stage began before its message came");
    at::Tensor tensor = std::move(found->second);
    tensors_.erase(found);
    return tensor;
  }

 private:
  std::mutex mutex_;
  std::map<std::tuple<Purpose, int, int>, at::Tensor> tensors_;
};

std::function<void()> started_beside(const std::function<void()>& collective) {
  const std::shared_future<void> done = std::async(std::launch::async, collective).share();
  return [done] { done.get(); };
}

class LayeredWork : public RealWork {
 public:
  LayeredWork(const Job& job, const Plan& plan, int rank, Device& device, const RankGroups& groups,
              const RealWorkSettings& settings)
      : job_(job),
        plan_(plan),
        program_(plan.programs[std::size_t(plan.grid.coordinates(rank).pipeline)]),
        device_(device),
        groups_(groups),
        settings_(settings),
        clock_(device),
        op_times_(program_.ops.size()) {
    context_.waiting = [this](const std::function<void()>& wait) { clock_.wait(wait); };
    context_.device = device.place();
    context_.type = scalar_type(job.precision.compute);
    context_.tensor = groups.of_layers(LayerGroup::Tensor);
    context_.context = groups.of_layers(LayerGroup::Context);
    context_.expert = groups.of_layers(LayerGroup::Expert);
    context_.expert_tensor = groups.of_layers(LayerGroup::ExpertTensor);
    context_.context_parallel = job.parallel.context_parallel;
    context_.sequence_parallel = job.parallel.sequence_parallel;
    context_.attention = job.attention;
    if (job.batch.attended_length > 0)
      context_.samples = packed_lengths(job.batch.sequence, job.batch.attended_length);
    context_.part_of_step = 1.0 / double(job.micro_batches());
    // Another thread has another CUDA stream, whose work nothing orders with this one's.
    if (context_.device.is_cpu()) context_.beside = started_beside;
    int first = 0;
    for (const int count : job.layers_per_stage) {
      first_layer_.push_back(first);
      first += count;
    }
    first_layer_.push_back(first);
    make_layers(rank);
    store_ = std::make_unique<ParameterStore>(job, plan, rank, layers_, device, settings.optimizer);
  }

  void begin_step() override {
    store_->zero_gradients();
    loss_ = at::Tensor();
    clock_.begin_step();
    passes_.clear();
    ++step_;
  }

  void end_step() override {
    for (const Pass& pass : passes_)
      settings_.on_layer(pass.layer, pass.type, clock_.without_waits(pass.time));
  }

  void compute(int index) override {
    const Op& op = op_at(index);
    OpTimes& times = op_times_[std::size_t(index)];
    times = {clock_.begin(), {}};
    recomputations_ = &times.recomputations;
    switch (op.purpose) {
      case Purpose::Forward:
        forward(op);
        break;
      case Purpose::Backward:
      case Purpose::InputGradient:
        backward(op);
        break;
      case Purpose::WeightGradient:
        weight_gradient(op);
        break;
      default:
        if (block_name(op) == "optimizer")
          store_->update();
        else
          store_->compute_norm();
    }
    if (op.releases_weights) store_->release(op.first_layer, op.end_layer);
    clock_.end(times.whole);
  }

  ComputeParts parts(int index) override {
    const OpTimes& times = op_times_[std::size_t(index)];
    ComputeParts parts{clock_.waited(times.whole), Seconds(0)};
    for (const PassClock::Stretch& again : times.recomputations)
      parts.recompute += clock_.without_waits(again);
    return parts;
  }

  void collective(int index) override {
    const Op& op = op_at(index);
    Group& group = groups_.group(op.group, op.stream);
    switch (op.purpose) {
      case Purpose::GradientReduction:
        store_->reduce(index, group);
        return;
      case Purpose::ParameterGather:
        store_->gather(index, group);
        return;
      case Purpose::ReplicatedReduction:
        store_->reduce_replicated(index, group);
        return;
      case Purpose::EmbeddingReduction:
        store_->reduce_embedding(index, group);
        return;
      case Purpose::NormReduction:
        store_->reduce_norm(group);
        return;
      default:
        SIM_CHECK(false, "a collective without a purpose");
    }
  }

  void send(int index) override {
    const Op& op = op_at(index);
    const at::Tensor message = mail_.take(op.purpose, op.stage, op.micro_batch).contiguous();
    device_.uses(message);
    groups_.sender(op).send(message, 1, 0);
  }

  void receive(int index) override {
    const Op& op = op_at(index);
    const int producer =
        op.purpose == Purpose::Activation ? last_layer(op.stage) : first_layer_at(op.stage) - 1;
    const at::Tensor message = at::empty(output_shape(job_, producer),
                                         at::TensorOptions(context_.type).device(context_.device));
    groups_.receiver(op).receive(message, 0, 0);
    mail_.put(op.purpose, op.stage, op.micro_batch, message);
  }

  double loss() const override { return loss_.defined() ? loss_.item<double>() : 0; }

  at::Tensor parameter(int layer, int tensor) override {
    const bool sharded = job_.parallel.zero_stage == 3 && plan_.grid.data > 1;
    return store_->value(
        layer, tensor, sharded ? &groups_.group(GroupKind::Shard, Stream::Communication) : nullptr);
  }

 private:
  struct Pass {
    int layer = 0;
    ActionType type = ActionType::F;
    PassClock::Stretch time;
  };
  struct OpTimes {
    PassClock::Stretch whole;
    std::vector<PassClock::Stretch> recomputations;
  };

  // Runs a pass of a layer and times it, if anybody asks.
  template <class Run>
  void timed(int layer, ActionType type, const Run& run) {
    if (!settings_.on_layer) return run();
    Pass pass{layer, type, clock_.begin()};
    run();
    clock_.end(pass.time);
    passes_.push_back(std::move(pass));
  }

  const Op& op_at(int index) const { return program_.ops[std::size_t(index)]; }
  int first_layer_at(int stage) const { return first_layer_[std::size_t(stage)]; }
  int last_layer(int stage) const { return first_layer_[std::size_t(stage) + 1] - 1; }
  bool is_last(int layer) const { return layer + 1 == first_layer_.back(); }
  std::string_view block_name(const Op& op) const {
    return plan_.blocks[std::size_t(op.block)].front().piece.name;
  }

  void make_layers(int rank) {
    const int pipeline = plan_.grid.coordinates(rank).pipeline;
    for (int stage = 0; stage < plan_.schedule.stages(); ++stage) {
      if (plan_.schedule.device_of_stage[std::size_t(stage)] != pipeline) continue;
      for (int layer = first_layer_at(stage); layer <= last_layer(stage); ++layer) {
        at::Tensor tied;
        if (is_last(layer) && layer > 0 && job_.model.tied_embeddings() && layers_.contains(0))
          tied = layers_.at(0)->parameters().front();
        layers_[layer] = make_layer(job_, layer, context_, settings_.seed, tied);
      }
    }
  }

  const MicroBatch& batch(int micro_batch) {
    const auto key = std::pair{step_, micro_batch};
    auto found = batches_.find(key);
    if (found == batches_.end()) {
      std::erase_if(batches_, [&](const auto& item) { return item.first.first != step_; });
      found = batches_.emplace(key, settings_.batches(context_, step_, micro_batch)).first;
    }
    return found->second;
  }

  bool recomputes(int layer) const {
    return job_.recompute == Recompute::Full && job_.recomputes(layer);
  }

  at::Tensor run_layer(int layer, const at::Tensor& input, int micro_batch) {
    context_.selective_recompute = job_.recompute == Recompute::Selective && job_.recomputes(layer);
    return layers_.at(layer)->forward(input, batch(micro_batch));
  }

  void forward(const Op& op) {
    at::Tensor flow;
    if (op.first_layer == first_layer_at(op.stage)) {
      if (op.stage > 0) flow = mail_.take(Purpose::Activation, op.stage - 1, op.micro_batch);
      if (flow.defined()) device_.uses(flow);
    } else {
      flow = std::move(forward_flow_);
    }
    for (int layer = op.first_layer; layer < op.end_layer; ++layer)
      timed(layer, ActionType::F, [&] { flow = layer_forward(layer, flow, op.micro_batch); });
    if (is_last(op.end_layer - 1))
      loss_ = loss_.defined() ? loss_ + flow / double(job_.micro_batches())
                              : flow / double(job_.micro_batches());
    else if (op.end_layer - 1 == last_layer(op.stage))
      mail_.put(Purpose::Activation, op.stage, op.micro_batch, flow);
    else
      forward_flow_ = flow;
  }

  at::Tensor layer_forward(int layer, const at::Tensor& input, int micro_batch) {
    Saved& saved = saved_[{layer, micro_batch}];
    if (input.defined()) saved.input = input.detach().requires_grad_(true);
    at::Tensor output;
    if (recomputes(layer)) {
      const at::NoGradGuard no_gradients;
      output = run_layer(layer, saved.input, micro_batch);
    } else {
      const at::AutoGradMode gradients(true);
      saved.output = output = run_layer(layer, saved.input, micro_batch);
    }
    return output.detach();
  }

  // Also the input-gradient half of a split backward pass: then linears put their weight gradients
  // off.
  void backward(const Op& op) {
    const bool halves = op.purpose == Purpose::InputGradient;
    at::Tensor flow;
    if (op.end_layer - 1 != last_layer(op.stage))
      flow = std::move(backward_flow_);
    else if (!is_last(op.end_layer - 1))
      device_.uses(flow = mail_.take(Purpose::Gradient, op.stage + 1, op.micro_batch));
    for (int layer = op.end_layer; layer-- > op.first_layer;)
      timed(layer, halves ? ActionType::I : ActionType::B, [&] {
        context_.deferred = halves ? &deferred_[{layer, op.micro_batch}] : nullptr;
        flow = layer_backward(layer, flow, op.micro_batch);
        context_.deferred = nullptr;
      });
    if (op.first_layer != first_layer_at(op.stage))
      backward_flow_ = flow;
    else if (op.stage > 0)
      mail_.put(Purpose::Gradient, op.stage, op.micro_batch, flow);
  }

  void recompute(int layer, Saved& saved, int micro_batch) {
    PassClock::Stretch& time = recomputations_->emplace_back(clock_.begin());
    const at::AutoGradMode gradients(true);
    saved.output = run_layer(layer, saved.input, micro_batch);
    clock_.end(time);
  }

  // Takes the gradient of the layer's output (undefined: of the mean loss), adds those of its
  // parameters and returns that of its input; undefined for the first.
  at::Tensor layer_backward(int layer, at::Tensor gradient, int micro_batch) {
    const auto node = saved_.extract({layer, micro_batch});
    SIM_CHECK(!node.empty(), "a backward pass without its forward pass");
    Saved& saved = node.mapped();
    if (!saved.output.defined()) recompute(layer, saved, micro_batch);
    if (!gradient.defined()) gradient = at::ones_like(saved.output) / double(job_.micro_batches());
    std::vector<at::Tensor> inputs;
    if (saved.input.defined()) inputs.push_back(saved.input);
    std::vector<at::Tensor> parameters = layers_.at(layer)->parameters();
    if (is_last(layer) && layer > 0 && job_.model.tied_embeddings() && layers_.contains(0))
      parameters.push_back(layers_.at(0)->parameters().front());
    std::erase_if(parameters, [](const at::Tensor& tensor) { return !tensor.requires_grad(); });
    inputs.insert(inputs.end(), parameters.begin(), parameters.end());
    if (inputs.empty()) return {};
    const std::vector<at::Tensor> gradients =
        torch::autograd::grad({saved.output}, inputs, {gradient}, /*retain_graph=*/false,
                              /*create_graph=*/false, /*allow_unused=*/true);
    const std::size_t first = saved.input.defined() ? 1 : 0;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (gradients[first + i].defined()) store_->add_gradient(parameters[i], gradients[first + i]);
    return first == 1 ? gradients.front() : at::Tensor();
  }

  void weight_gradient(const Op& op) {
    for (int layer = op.end_layer; layer-- > op.first_layer;)
      timed(layer, ActionType::W, [&] {
        const auto node = deferred_.extract({layer, op.micro_batch});
        if (node.empty()) return;
        for (DeferredGradient& deferred : node.mapped())
          store_->add_gradient(deferred.parameter, deferred.gradient());
      });
  }

  const Job& job_;
  const Plan& plan_;
  const Program& program_;
  Device& device_;
  const RankGroups& groups_;
  RealWorkSettings settings_;
  LayerContext context_;
  std::vector<int> first_layer_;  // by stage, and the end of the last
  RankLayers layers_;
  std::unique_ptr<ParameterStore> store_;
  std::map<std::pair<int, int>, Saved> saved_;  // by layer and micro-batch
  std::map<std::pair<int, int>, std::vector<DeferredGradient>> deferred_;
  std::map<std::pair<int, int>, MicroBatch> batches_;  // by step and micro-batch
  at::Tensor forward_flow_, backward_flow_;            // between the parts of an action
  Mailbox mail_;
  PassClock clock_;
  std::vector<Pass> passes_;                                   // of this step
  std::vector<OpTimes> op_times_;                              // by op, of this step
  std::vector<PassClock::Stretch>* recomputations_ = nullptr;  // of the compute op at hand
  at::Tensor loss_;  // on the device: reading it would make the host wait
  int step_ = -1;
};

}  // namespace

BatchSource batches_of(const Job& job, const RankGrid& grid, int rank, std::uint64_t seed) {
  const auto data = std::make_shared<Data>(job, seed);
  const std::int64_t place = grid.coordinates(rank).data / grid.context;
  return [&job, data, place](const LayerContext& context, int step, int index) {
    const std::int64_t first = (std::int64_t(index) * job.parallel.data + place) * job.batch.micro;
    return data->micro_batch(context, step, first);
  };
}

std::shared_ptr<RealWork> make_real_work(const Job& job, const Plan& plan, int rank, Device& device,
                                         const RankGroups& groups,
                                         const RealWorkSettings& settings) {
  return std::make_shared<LayeredWork>(job, plan, rank, device, groups, settings);
}

namespace {

// Why samples cannot share sequences as the job says, or empty.
std::string samples_complaint(const Job& job) {
  const int attended = job.batch.attended_length, sequence = job.batch.sequence;
  if (attended == 0) return "";
  if (attended > sequence)
    return "an attended_length above the sequence is simulated only: micro-batches of samples that "
           "differ in length would differ in size, which a plan's do not";
  if (job.model.family->name == "bert")
    return "attended_length is simulated only for BERT: its next sentence is of one sample a "
           "sequence";
  if (job.parallel.context > 1 && job.parallel.context_parallel != ContextParallel::Ulysses)
    return "samples that share a sequence (attended_length) are shared by ranks with "
           "context_parallel: ulysses alone";
  if (packed_lengths(sequence, attended).empty())
    return fmt::format("no samples fill {} tokens so that one attends to {} (attended_length)",
                       sequence, attended);
  return "";
}

}  // namespace

std::string run_complaint(const Job& job) {
  if (std::string complaint = model_complaint(job); !complaint.empty()) return complaint;
  if (std::string complaint = samples_complaint(job); !complaint.empty()) return complaint;
  if (job.software->operators != nullptr) return "the backend has no operators of other software";
  if (job.software->batch_first && job.parallel.sequence_parallel)
    return "the backend splits the first dimension of a sequence (sequence parallelism): it makes "
           "no "
           "copies as software with the batch first does";
  if (is_of_operands(job.precision.compute) || job.precision.compute == DType::Tf32)
    return fmt::format("the backend computes in fp32, bf16 or fp16, not in {}",
                       name_of(kDTypeNames, job.precision.compute));
  if (job.recompute == Recompute::PerOp || job.recompute.kind == Recompute::Modules)
    return fmt::format("the backend recomputes whole blocks or attention, not {}",
                       recomputation_text(job.recompute));
  if (job.parallel.tensor_lists)
    return "the backend gathers a layer at once: parallel.fsdp.tensor_lists gathers each tensor";
  if (job.parallel.fsdp_version != 0)
    return "the backend's tensors lie in the buffers that it sends: parallel.fsdp.version counts "
           "copies that it does not make";
  return "";
}

}  // namespace windtunnel

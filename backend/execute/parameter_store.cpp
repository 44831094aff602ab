#include "backend/execute/parameter_store.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/check.hpp"

namespace windtunnel {

namespace {

constexpr double kLargestNorm = 1;
constexpr double kNormEpsilon = 1e-6;  // torch.nn.utils.clip_grad_norm_

// A tensor's place in its bucket.
struct Entry {
  int layer = 0, tensor = 0;
  at::Tensor parameter;  // the module's leaf
  std::vector<std::int64_t> sizes;
  std::int64_t offset = 0;
  bool replicated = false;  // every tensor-parallel rank has all of it
  bool expert = false;      // of routed experts that the plan lays out otherwise than the rest
  std::int64_t numel() const {
    std::int64_t product = 1;
    for (const std::int64_t size : sizes) product *= size;
    return product;
  }
};

// Of frozen tensors: no gradients, no optimizer state.
struct Bucket {
  std::vector<Entry> entries;
  bool frozen = false;
  int ranks = 1;  // that have the same tensors and average their gradients
  int shards = 1, shard_index = 0;
  std::int64_t numel = 0;      // a multiple of the shards
  at::Tensor values;           // [numel]; ZeRO-3: undefined while not gathered
  at::Tensor shard;            // [numel / shards] of the values; a view of them below ZeRO-3
  at::Tensor gradients;        // [numel]; ZeRO-2 and 3: undefined until the next gradient
  at::Tensor shard_gradients;  // [numel / shards]; `gradients` itself without ZeRO
  at::Tensor reduced;          // ZeRO: the last reduction, before it is added to the shard's
  at::Tensor master, moment, variance;  // fp32, [numel / shards]
};

struct Segment {
  const Entry* entry = nullptr;
  std::int64_t begin = 0, length = 0;  // in the shard
};

}  // namespace

struct ParameterStore::State {
  const Job& job;
  const Program& program;
  const RankGrid& grid;
  Device& device;
  OptimizerSettings settings;
  Coordinates at;
  int zero;
  bool norm_of_world;  // the gradient norm is summed over all ranks, copies included
  at::ScalarType gradient_type;
  bool tied_copy = false;  // this rank's head has its own copy of the embedding's words
  std::vector<Bucket> buckets, frozen;
  std::map<int, int> bucket_of_op;                         // GradientReduction ops
  std::map<void*, std::pair<int, const Entry*>> place_of;  // by parameter
  at::Tensor norm_square;
  int steps = 0;

  State(const Job& j, const Plan& plan, int rank, Device& d, const OptimizerSettings& s)
      : job(j),
        program(plan.programs[std::size_t(plan.grid.coordinates(rank).pipeline)]),
        grid(plan.grid),
        device(d),
        settings(s) {
    at = grid.coordinates(rank);
    zero = job.parallel.zero_stage;
    norm_of_world = std::any_of(program.ops.begin(), program.ops.end(), [](const Op& op) {
      return op.purpose == Purpose::NormReduction && op.group == GroupKind::World;
    });
    gradient_type = job.precision.gradients == DType::Bf16   ? at::kBFloat16
                    : job.precision.gradients == DType::Fp16 ? at::kHalf
                                                             : at::kFloat;
  }

  const Tensor& tensor_of(const Entry& entry) const {
    return job.model.layers[std::size_t(entry.layer)].tensors[std::size_t(entry.tensor)];
  }
  bool is_tied_words(const Entry& entry) const {
    return tensor_of(entry).name == job.model.layers.front().tensors.front().name;
  }
  void make_buckets(const RankLayers& layers);
  void add_bucket(std::vector<Entry> entries);
  void add_frozen(const std::vector<Entry>& entries);
  std::vector<Bucket*> all_buckets();
  void set_copies(Bucket& bucket) const;
  void pack(Bucket& bucket) const;
  void point_parameters(const Bucket& bucket) const;
  std::vector<Segment> segments(const Bucket& bucket) const;
  const at::Tensor& whole_gradients(Bucket& bucket) const;
  at::Tensor of_planned_size(int op, const at::Tensor& values) const;
  template <class Visit>
  void for_replicated(const Visit& visit);
};

namespace {

int stage_of_layer(const Job& job, int layer) {
  int stage = 0, end = job.layers_per_stage[0];
  while (layer >= end) end += job.layers_per_stage[std::size_t(++stage)];
  return stage;
}

bool is_shared(const Model& model, const Tensor& tensor) {
  const std::vector<Tensor>& first = model.layers.front().tensors;
  return std::any_of(first.begin(), first.end(),
                     [&](const Tensor& other) { return other.name == tensor.name; });
}

// Indices of the layer's tensors that this rank's module has: a tied head beside the embedding has
// no words of its own.
std::vector<int> own_tensors(const Model& model, int layer, bool beside_embedding) {
  const std::vector<Tensor>& tensors = model.layers[std::size_t(layer)].tensors;
  std::vector<int> own;
  for (int i = 0; i < int(tensors.size()); ++i)
    if (layer == 0 || !beside_embedding || !is_shared(model, tensors[std::size_t(i)]))
      own.push_back(i);
  return own;
}

// The tensors of a rank's layers of one stage in gradient-ready order: reverse registration.
std::vector<Entry> ready_order(const Job& job, const RankLayers& layers, int stage, bool split) {
  const bool folds_experts = job.model.has_experts() && job.parallel.folds_experts();
  std::vector<Entry> entries;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    if (stage_of_layer(job, layer->first) != stage) continue;
    const std::vector<int> own = own_tensors(job.model, layer->first, layers.contains(0));
    const auto& parameters = layer->second->parameters();
    SIM_CHECK(own.size() == parameters.size(), "a module with other tensors than its layer");
    const auto& tensors = job.model.layers[std::size_t(layer->first)].tensors;
    for (std::size_t i = own.size(); i-- > 0;) {
      const Tensor& tensor = tensors[std::size_t(own[i])];
      const bool expert = tensor.experts > 0;
      entries.push_back({layer->first, own[i], parameters[i], parameters[i].sizes().vec(), 0,
                         split && !tensor.split && !expert, folds_experts && expert});
    }
  }
  return entries;
}

}  // namespace

void ParameterStore::State::make_buckets(const RankLayers& layers) {
  std::set<int> stages;
  for (const auto& [layer, module] : layers) stages.insert(stage_of_layer(job, layer));
  const double gradient_bytes = bytes_of(job.precision.gradients);
  for (const int stage : stages) {
    // Experts that are laid out otherwise have buckets of their own.
    struct Ready {
      std::vector<Entry> entries;
      std::size_t next = 0;  // the first that is in no bucket
    };
    Ready shared, experts, untrained;
    for (Entry& entry : ready_order(job, layers, stage, grid.tensor > 1))
      (tensor_of(entry).frozen ? untrained
       : entry.expert          ? experts
                               : shared)
          .entries.push_back(std::move(entry));
    add_frozen(untrained.entries);
    const std::size_t first = buckets.size();
    std::size_t reductions = 0;  // seen
    for (int i = 0; i < int(program.ops.size()); ++i) {
      const Op& op = program.ops[std::size_t(i)];
      if (op.purpose != Purpose::GradientReduction || stage_of_layer(job, op.first_layer) != stage)
        continue;
      if (op.group == GroupKind::Replica) {
        bucket_of_op[i] = bucket_of_op.at(i - 1);
        continue;
      }
      auto& [entries, next] = op.group == GroupKind::ExpertData ? experts : shared;
      if (next < entries.size()) {
        const auto wanted = std::int64_t(std::llround(op.bytes.value / gradient_bytes));
        std::vector<Entry> bucket;
        for (std::int64_t numel = 0; numel < wanted; numel += entries[next++].numel())
          bucket.push_back(entries[next]);
        add_bucket(std::move(bucket));
      }
      // A later micro-batch reduces the same buckets again.
      bucket_of_op[i] = int(first + reductions++ % (buckets.size() - first));
    }
    for (Ready* ready : {&shared, &experts}) {
      SIM_CHECK(ready->next == 0 || ready->next == ready->entries.size(),
                "the plan's reductions leave tensors out");
      if (ready->next == 0)
        for (Entry& entry : ready->entries) add_bucket({std::move(entry)});
    }
  }
  for (std::size_t i = 0; i < buckets.size(); ++i)
    for (const Entry& entry : buckets[i].entries)
      place_of[entry.parameter.unsafeGetTensorImpl()] = {int(i), &entry};
}

// ZeRO-3 shards them a layer at a time, as it gathers them; otherwise every rank has all of them.
void ParameterStore::State::add_frozen(const std::vector<Entry>& entries) {
  std::map<int, std::vector<Entry>> of_layer;
  for (const Entry& entry : entries) of_layer[entry.layer].push_back(entry);
  for (auto& [layer, of_bucket] : of_layer) add_bucket(std::move(of_bucket));
}

void ParameterStore::State::add_bucket(std::vector<Entry> entries) {
  const bool is_frozen = tensor_of(entries.front()).frozen;
  Bucket& bucket = (is_frozen ? frozen : buckets).emplace_back();
  bucket.frozen = is_frozen;
  bucket.entries = std::move(entries);
  for (Entry& entry : bucket.entries) {
    entry.offset = bucket.numel;
    bucket.numel += entry.numel();
  }
  set_copies(bucket);
  bucket.numel = (bucket.numel + bucket.shards - 1) / bucket.shards * bucket.shards;
  pack(bucket);
}

// Source of the groups: RankParameters of the plan.
void ParameterStore::State::set_copies(Bucket& bucket) const {
  const bool expert = bucket.entries.front().expert;
  bucket.ranks = expert ? grid.expert_data() : grid.data;
  const bool is_whole = zero == 0 || (bucket.frozen && zero < 3);
  bucket.shards = is_whole ? 1 : expert ? bucket.ranks : grid.shard_ranks;
  const int place = expert ? (at.tensor + grid.tensor * at.data) / grid.expert_ranks() : at.data;
  bucket.shard_index = place % bucket.shards;
}

void ParameterStore::State::pack(Bucket& bucket) const {
  const at::TensorOptions options = bucket.entries.front().parameter.options().requires_grad(false);
  bucket.values = at::zeros({bucket.numel}, options);
  for (const Entry& entry : bucket.entries)
    bucket.values.narrow(0, entry.offset, entry.numel())
        .copy_(entry.parameter.detach().reshape({-1}));
  const std::int64_t part = bucket.numel / bucket.shards;
  bucket.shard = bucket.values.narrow(0, bucket.shard_index * part, part);
  point_parameters(bucket);
  if (zero == 3 && bucket.shards > 1) {
    bucket.shard = bucket.shard.clone();
    bucket.values = at::Tensor();
    for (const Entry& entry : bucket.entries)
      at::Tensor(entry.parameter).set_data(at::empty({0}, options));
  }
  if (bucket.frozen) return;
  bucket.shard_gradients = at::zeros({part}, options.dtype(gradient_type));
  if (bucket.shards == 1) bucket.gradients = bucket.shard_gradients;
  const at::TensorOptions fp32 = options.dtype(at::kFloat);
  bucket.master = options.dtype() == at::kFloat ? bucket.shard : bucket.shard.to(at::kFloat);
  if (job.optimizer != OptimizerKind::None) bucket.moment = at::zeros({part}, fp32);
  if (job.optimizer == OptimizerKind::Adam) bucket.variance = at::zeros({part}, fp32);
}

std::vector<Bucket*> ParameterStore::State::all_buckets() {
  std::vector<Bucket*> all;
  for (std::vector<Bucket>* some : {&buckets, &frozen})
    for (Bucket& bucket : *some) all.push_back(&bucket);
  return all;
}

void ParameterStore::State::point_parameters(const Bucket& bucket) const {
  for (const Entry& entry : bucket.entries)
    at::Tensor(entry.parameter)
        .set_data(bucket.values.narrow(0, entry.offset, entry.numel()).view(entry.sizes));
}

std::vector<Segment> ParameterStore::State::segments(const Bucket& bucket) const {
  std::vector<Segment> segments;
  const std::int64_t part = bucket.numel / bucket.shards;
  const std::int64_t low = bucket.shard_index * part, high = low + part;
  for (const Entry& entry : bucket.entries) {
    const std::int64_t begin = std::max(low, entry.offset);
    const std::int64_t end = std::min(high, entry.offset + entry.numel());
    if (begin < end) segments.push_back({&entry, begin - low, end - begin});
  }
  return segments;
}

const at::Tensor& ParameterStore::State::whole_gradients(Bucket& bucket) const {
  if (!bucket.gradients.defined())
    bucket.gradients = at::zeros({bucket.numel}, bucket.shard_gradients.options());
  return bucket.gradients;
}

// A copy of the values as the op's message. ZeRO-1 keeps whole buffers, so its message is whole
// too, whatever this rank's shard has of it: zeros follow.
at::Tensor ParameterStore::State::of_planned_size(int op, const at::Tensor& values) const {
  const auto planned =
      std::int64_t(program.ops[std::size_t(op)].bytes.value / bytes_of(job.precision.gradients));
  const at::Tensor message = at::zeros({std::max(planned, values.numel())}, values.options());
  message.narrow(0, 0, values.numel()).copy_(values);
  return message;
}

// Gradients of which every tensor-parallel rank sees only a part: under sequence parallelism those
// of all replicated tensors but the embedding's, which comes before the first split; without it
// those of tensors that are applied to each head.
template <class Visit>
void ParameterStore::State::for_replicated(const Visit& visit) {
  for (Bucket& bucket : buckets)
    for (const Segment& segment : segments(bucket)) {
      const LayerKind kind = job.model.layers[std::size_t(segment.entry->layer)].kind;
      const bool is_part = job.parallel.sequence_parallel || tensor_of(*segment.entry).of_heads;
      if (segment.entry->replicated && is_part && kind != LayerKind::Embedding)
        visit(bucket.shard_gradients.narrow(0, segment.begin, segment.length));
    }
}

ParameterStore::ParameterStore(const Job& job, const Plan& plan, int rank, const RankLayers& layers,
                               Device& device, const OptimizerSettings& settings)
    : state_(std::make_unique<State>(job, plan, rank, device, settings)) {
  const at::NoGradGuard no_gradients;
  const auto [first, last] = plan.grid.embedding_ends;
  state_->tied_copy = first != last && plan.grid.coordinates(rank).pipeline == last;
  state_->make_buckets(layers);
}

ParameterStore::~ParameterStore() = default;

void ParameterStore::zero_gradients() {
  for (Bucket& bucket : state_->buckets) {
    bucket.shard_gradients.zero_();
    if (bucket.gradients.defined()) bucket.gradients.zero_();
  }
}

void ParameterStore::add_gradient(const at::Tensor& parameter, const at::Tensor& gradient) {
  const at::NoGradGuard no_gradients;
  const auto& [index, entry] = state_->place_of.at(parameter.unsafeGetTensorImpl());
  Bucket& bucket = state_->buckets[std::size_t(index)];
  // A step's gradient is a mean over the data-parallel ranks. An expert's is a sum over all that
  // send it tokens, and later only the ranks that have the same expert are averaged.
  const double weight = double(bucket.ranks) / state_->grid.data;
  state_->whole_gradients(bucket)
      .narrow(0, entry->offset, entry->numel())
      .add_(gradient.reshape({-1}), weight);
}

void ParameterStore::reduce(int op, Group& group) {
  const at::NoGradGuard no_gradients;
  State& state = *state_;
  Bucket& bucket = state.buckets[std::size_t(state.bucket_of_op.at(op))];
  const double scale = 1.0 / bucket.ranks;
  if (bucket.shards == 1) {
    group.all_reduce(bucket.gradients);
    bucket.gradients.mul_(scale);
    return;
  }
  if (state.program.ops[std::size_t(op)].group == GroupKind::Replica) {
    group.all_reduce(bucket.reduced);
    bucket.shard_gradients.add_(bucket.reduced, scale);
    return;
  }
  bucket.reduced = at::empty_like(bucket.shard_gradients);
  state.device.uses(state.whole_gradients(bucket));
  group.reduce_scatter(bucket.reduced, state.whole_gradients(bucket));
  if (state.zero == 1)
    bucket.gradients.zero_();
  else
    bucket.gradients = at::Tensor();
  // The shard of a hybrid plan is still to be summed over its replicas, by the op that follows.
  if (bucket.shards == bucket.ranks) bucket.shard_gradients.add_(bucket.reduced, scale);
}

void ParameterStore::gather(int op, Group& group) {
  const at::NoGradGuard no_gradients;
  State& state = *state_;
  const Op& gather = state.program.ops[std::size_t(op)];
  std::vector<Bucket*> gathered;
  std::vector<at::Tensor> parts;
  for (Bucket* bucket : state.all_buckets()) {
    const Entry& entry = bucket->entries.front();
    if (entry.layer < gather.first_layer || entry.layer >= gather.end_layer) continue;
    if (entry.expert != (gather.group == GroupKind::ExpertData)) continue;
    if (bucket->frozen && state.zero < 3) continue;
    gathered.push_back(bucket);
    parts.push_back(bucket->shard);
  }
  const at::Tensor part = parts.size() == 1 ? parts.front().contiguous() : at::cat(parts);
  const at::Tensor whole = at::empty({part.numel() * group.size()}, part.options());
  group.all_gather(whole, part);
  // One row a rank, each with its shards of all buckets.
  const at::Tensor rows = whole.view({group.size(), -1});
  std::int64_t column = 0;
  for (Bucket* bucket : gathered) {
    const std::int64_t width = bucket->numel / bucket->shards;
    const at::Tensor values = rows.narrow(1, column, width).reshape({-1});
    column += width;
    if (state.zero == 3) {
      bucket->values = values;
      state.point_parameters(*bucket);
    } else {
      bucket->values.copy_(values);
    }
  }
}

void ParameterStore::release(int first_layer, int end_layer) {
  for (Bucket* bucket : state_->all_buckets()) {
    const int layer = bucket->entries.front().layer;
    if (layer < first_layer || layer >= end_layer) continue;
    state_->device.uses(bucket->values);
    bucket->values = at::Tensor();
    for (const Entry& entry : bucket->entries)
      at::Tensor(entry.parameter).set_data(at::empty({0}, bucket->shard.options()));
  }
}

void ParameterStore::reduce_replicated(int op, Group& tensor) {
  const at::NoGradGuard no_gradients;
  State& state = *state_;
  std::vector<at::Tensor> parts;
  state.for_replicated([&](const at::Tensor& part) { parts.push_back(part); });
  const at::Tensor none = at::empty({0}, state.buckets.front().shard_gradients.options());
  const at::Tensor message = state.of_planned_size(op, parts.empty() ? none : at::cat(parts));
  tensor.all_reduce(message);
  std::int64_t offset = 0;
  state.for_replicated([&](const at::Tensor& part) {
    part.copy_(message.narrow(0, offset, part.numel()));
    offset += part.numel();
  });
}

void ParameterStore::reduce_embedding(int op, Group& group) {
  const at::NoGradGuard no_gradients;
  State& state = *state_;
  const int layer = state.tied_copy ? int(state.job.model.layers.size()) - 1 : 0;
  for (Bucket& bucket : state.buckets)
    for (const Entry& entry : bucket.entries) {
      if (entry.layer != layer || !state.is_tied_words(entry)) continue;
      if (bucket.shards == 1) {
        group.all_reduce(bucket.gradients.narrow(0, entry.offset, entry.numel()));
        continue;
      }
      SIM_CHECK(bucket.entries.size() == 1, "tied words share a bucket: their shards differ");
      const at::Tensor message = state.of_planned_size(op, bucket.shard_gradients);
      group.all_reduce(message);
      bucket.shard_gradients.copy_(message.narrow(0, 0, bucket.shard_gradients.numel()));
    }
}

// Every element of the model counts once over all ranks of the norm's group: replicated tensors on
// the first tensor-parallel rank, the tied words with the embedding, copies by equal parts.
void ParameterStore::compute_norm() {
  const at::NoGradGuard no_gradients;
  State& state = *state_;
  state.norm_square =
      at::zeros({1}, state.buckets.empty() ? at::TensorOptions(at::kFloat)
                                           : state.buckets.front().master.options());
  for (const Bucket& bucket : state.buckets)
    for (const Segment& segment : state.segments(bucket)) {
      const Entry& entry = *segment.entry;
      const bool copy = state.tied_copy && state.is_tied_words(entry);
      if (copy || (entry.replicated && state.at.tensor > 0)) continue;
      const int copies = state.norm_of_world ? bucket.ranks / bucket.shards : 1;
      state.norm_square.add_(bucket.shard_gradients.narrow(0, segment.begin, segment.length)
                                 .to(at::kFloat)
                                 .square()
                                 .sum(),
                             1.0 / copies);
    }
}

void ParameterStore::reduce_norm(Group& group) {
  group.all_reduce(state_->norm_square);
}

void ParameterStore::update() {
  const at::NoGradGuard no_gradients;
  State& state = *state_;
  const OptimizerSettings& settings = state.settings;
  ++state.steps;
  at::Tensor clip;
  if (state.norm_square.defined())
    clip = (kLargestNorm / (state.norm_square.sqrt() + kNormEpsilon)).clamp_max(1.0);
  for (Bucket& bucket : state.buckets) {
    at::Tensor gradient = bucket.shard_gradients.to(at::kFloat);
    if (clip.defined()) gradient = gradient * clip;
    if (state.job.optimizer == OptimizerKind::Sgd) {
      bucket.moment.mul_(settings.momentum).add_(gradient);
      bucket.master.add_(bucket.moment, -settings.learning_rate);
    } else {
      // Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
      bucket.moment.mul_(settings.beta1).add_(gradient, 1 - settings.beta1);
      bucket.variance.mul_(settings.beta2).addcmul_(gradient, gradient, 1 - settings.beta2);
      const double first = 1 - std::pow(settings.beta1, state.steps);
      const double second = 1 - std::pow(settings.beta2, state.steps);
      const at::Tensor scale =
          bucket.variance.sqrt().div_(std::sqrt(second)).add_(settings.epsilon);
      bucket.master.addcdiv_(bucket.moment, scale, -settings.learning_rate / first);
    }
    if (!bucket.master.is_same(bucket.shard)) bucket.shard.copy_(bucket.master);
  }
}

at::Tensor ParameterStore::value(int layer, int tensor, Group* shard_group) const {
  const at::NoGradGuard no_gradients;
  for (const Bucket* bucket : state_->all_buckets())
    for (const Entry& entry : bucket->entries) {
      if (entry.layer != layer || entry.tensor != tensor) continue;
      at::Tensor whole = bucket->values;
      if (!whole.defined()) {
        whole = at::empty({bucket->numel}, bucket->shard.options());
        shard_group->all_gather(whole, bucket->shard);
      }
      return whole.narrow(0, entry.offset, entry.numel()).view(entry.sizes).to(at::kFloat).clone();
    }
  return {};
}

}  // namespace windtunnel

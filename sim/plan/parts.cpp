#include "plan/parts.hpp"

#include <algorithm>
#include <limits>
#include <optional>

namespace windtunnel {

namespace {

constexpr Bytes kNoLimit{std::numeric_limits<double>::infinity()};

class Cutter {
 public:
  Cutter(const PlanContext& context, const RankParameters& own)
      : context_(context),
        job_(context.job),
        grid_(context.plan.grid),
        schedule_(context.plan.schedule),
        own_(own) {}
  std::vector<Part> parts() const;

 private:
  bool reduces(const Action& action, int position) const;
  bool starts_gradients(const Action& action, int position) const;
  void append_parts(const Action& action, bool reduce, std::vector<Part>& parts) const;
  std::vector<GradientBucket> buckets(LayerRange layers, bool expert, Bytes first_limit,
                                      Bytes limit) const;
  std::vector<Part> bucket_parts(const Action& action) const;
  bool is_shared_with_other_end(const Tensor& tensor) const;
  void mark_gathers(std::vector<Part>& parts) const;

  const PlanContext& context_;
  const Job& job_;
  const RankGrid& grid_;
  const Schedule& schedule_;
  const RankParameters& own_;
};

// Whether the gradients that this action completes are reduced after it.
bool Cutter::reduces(const Action& action, int position) const {
  if (!own_.has_copies() || !computes_weight_gradient(action.type)) return false;
  if (!job_.data_parallel.no_sync) return true;
  const auto& actions = schedule_.actions[std::size_t(own_.pipeline())];
  return std::none_of(actions.begin() + position + 1, actions.end(), [&](const Action& later) {
    return later.stage == action.stage && later.type == action.type;
  });
}

// Whether this action makes whole gradients beside the shard that ZeRO-2 and 3 keep: the first one,
// and each one after a reduction.
bool Cutter::starts_gradients(const Action& action, int position) const {
  if (job_.parallel.zero_stage < 2 || !own_.has_copies() || !computes_weight_gradient(action.type))
    return false;
  if (!job_.data_parallel.no_sync) return true;
  const auto& actions = schedule_.actions[std::size_t(own_.pipeline())];
  return std::none_of(actions.begin(), actions.begin() + position, [&](const Action& earlier) {
    return earlier.stage == action.stage && earlier.type == action.type;
  });
}

std::vector<Part> Cutter::parts() const {
  std::vector<Part> parts;
  const auto& actions = schedule_.actions[std::size_t(own_.pipeline())];
  for (int i = 0; i < int(actions.size()); ++i) {
    const std::size_t first = parts.size();
    append_parts(actions[std::size_t(i)], reduces(actions[std::size_t(i)], i), parts);
    const bool starts = starts_gradients(actions[std::size_t(i)], i);
    for (std::size_t part = first; part < parts.size(); ++part) parts[part].new_gradients = starts;
  }
  if (job_.parallel.zero_stage == 3) mark_gathers(parts);
  return parts;
}

void Cutter::append_parts(const Action& action, bool reduce, std::vector<Part>& parts) const {
  const LayerRange range = context_.layers_of_stage[std::size_t(action.stage)];
  std::vector<Part> cut;
  if (job_.parallel.zero_stage == 3 && grid_.data > 1) {
    const Bytes limit = job_.parallel.tensor_lists ? Bytes(0) : kNoLimit;
    for (int layer = range.first; layer < range.end; ++layer) {
      Part part{.action = action, .layers = {layer, layer + 1}};
      if (reduce && own_.count_of(layer).trained() > 0)
        part.buckets = buckets(part.layers, false, limit, limit);
      cut.push_back(part);
    }
    if (action.type != ActionType::F) std::reverse(cut.begin(), cut.end());
  } else if (reduce) {
    cut = bucket_parts(action);
  } else {
    cut.push_back({.action = action, .layers = range});
  }
  for (std::size_t i = 0; i < cut.size(); ++i) {
    cut[i].opens = i == 0;
    cut[i].closes = i + 1 == cut.size();
    parts.push_back(cut[i]);
  }
}

// Words that the embedding and the head have on two pipeline ranks.
bool Cutter::is_shared_with_other_end(const Tensor& tensor) const {
  const auto [first, last] = grid_.embedding_ends;
  return first != last && tensor.name == job_.model.layers.front().tensors.front().name;
}

// Gradients of the routed experts or of the others, in the order in which they become ready,
// reverse registration, cut into buckets. Where shards are kept, shared words have a bucket of
// their own: both ends then divide them alike, so that their shards can be added up after the
// reduction. Source: Megatron-LM, _does_param_require_new_bucket in
// core/distributed/param_and_grad_buffer.py.
std::vector<GradientBucket> Cutter::buckets(LayerRange range, bool expert, Bytes first_limit,
                                            Bytes limit) const {
  std::vector<Bytes> sizes;
  std::vector<GradientBucket> tensors_ready;
  std::optional<int> alone;
  for (int layer = range.end - 1; layer >= range.first; --layer) {
    const std::vector<Tensor> tensors = own_.tensors_of(layer);
    for (auto tensor = tensors.rbegin(); tensor != tensors.rend(); ++tensor) {
      if (tensor->frozen || own_.is_expert(*tensor) != expert) continue;
      const std::int64_t numel = own_.numel_of(*tensor);
      if (own_.shards() > 1 && is_shared_with_other_end(*tensor)) alone = int(sizes.size());
      tensors_ready.push_back({numel, expert, layer});
      sizes.push_back(Bytes(double(numel) * bytes_of(job_.precision.gradients)));
    }
  }
  std::vector<GradientBucket> buckets;
  for (const std::vector<int>& members : ddp_buckets(sizes, first_limit, limit, alone)) {
    GradientBucket& bucket = buckets.emplace_back(GradientBucket{.expert = expert});
    bucket.layer = tensors_ready[std::size_t(members.back())].layer;
    for (const int tensor : members)
      bucket.parameters += tensors_ready[std::size_t(tensor)].parameters;
  }
  return buckets;
}

// Backward parts that end where a DDP bucket is complete, with its last tensor's layer.
std::vector<Part> Cutter::bucket_parts(const Action& action) const {
  const LayerRange range = context_.layers_of_stage[std::size_t(action.stage)];
  const DataParallelOptions& options = job_.data_parallel;
  std::vector<GradientBucket> ready;
  if (grid_.data > 1) ready = buckets(range, false, options.first_bucket, options.bucket);
  if (own_.folds_experts() && grid_.expert_data() > 1) {
    const auto experts = buckets(range, true, options.first_bucket, options.bucket);
    ready.insert(ready.end(), experts.begin(), experts.end());
    std::stable_sort(
        ready.begin(), ready.end(),
        [](const GradientBucket& a, const GradientBucket& b) { return a.layer > b.layer; });
  }
  std::vector<Part> parts;
  int end = range.end;
  for (const GradientBucket& bucket : ready) {
    if (bucket.layer < end) {
      parts.push_back({.action = action, .layers = {bucket.layer, end}});
      end = bucket.layer;
    }
    parts.back().buckets.push_back(bucket);
  }
  if (end > range.first || parts.empty())
    parts.push_back({.action = action, .layers = {range.first, end}});
  if (options.overlap) return parts;
  Part whole{.action = action, .layers = range};
  for (const Part& part : parts)
    whole.buckets.insert(whole.buckets.end(), part.buckets.begin(), part.buckets.end());
  return {whole};
}

// A tied head computes with the embedding's weights: while a micro-batch is between its forward and
// its backward pass they stay gathered, as one FSDP unit holds shared parameters.
void Cutter::mark_gathers(std::vector<Part>& parts) const {
  if (grid_.data == 1) return;
  const bool shared_words =
      job_.model.tied_embeddings() && own_.owns(0) && own_.owns(int(job_.model.layers.size()) - 1);
  int in_flight = 0;  // micro-batches that use the shared words
  std::vector<bool> gathered(job_.model.layers.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Part& part = parts[i];
    if (!reads_weights(part.action.type) || own_.count_of(part.layers).total() == 0) continue;
    const std::size_t layer = std::size_t(part.layers.first);
    part.gather = !gathered[layer];
    const bool forward = part.action.type == ActionType::F;
    const bool backward_follows = i + 1 < parts.size() &&
                                  parts[i + 1].layers.first == part.layers.first &&
                                  parts[i + 1].action.type != ActionType::F;
    bool keep = forward && (!job_.parallel.reshard_after_forward ||
                            (job_.parallel.keep_last_layer && backward_follows));
    if (layer == 0 && shared_words) {
      in_flight += forward ? 1 : -1;
      keep = in_flight > 0;
    }
    part.release = !keep;
    gathered[layer] = keep;
  }
}

}  // namespace

std::vector<Part> parts_of(const PlanContext& context, const RankParameters& own) {
  return Cutter(context, own).parts();
}

}  // namespace windtunnel

// The layers of a model as LibTorch code, one module for each Layer of sim/model, with the same
// tensors in the same order. A module holds parameters and runs; gradients, optimizer and sharding
// belong to whoever runs it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/comm/group.hpp"
#include "backend/torch.hpp"
#include "plan/job.hpp"

namespace windtunnel {

// Weight gradients that an input-gradient action puts off until its weight-gradient action (zero
// bubble). `gradient` computes the gradient of `parameter` and lets go of what it kept.
struct DeferredGradient {
  at::Tensor parameter;
  std::function<at::Tensor()> gradient;
};

// What the layers of one rank share while they run. Modules keep a reference.
struct LayerContext {
  at::Device device = at::kCPU;
  at::ScalarType type = at::kFloat;  // of parameters and activations
  Group* tensor = nullptr;           // tensor-parallel group; null: tensor degree 1
  Group* context = nullptr;          // ranks that share the samples; null: each has whole ones
  Group* expert = nullptr;           // ranks that hold different experts; null: each has all
  Group* expert_tensor = nullptr;    // ranks that split each expert; null: experts are whole
  bool sequence_parallel = false;
  ContextParallel context_parallel = ContextParallel::Ring;
  AttentionKernel attention = AttentionKernel::Unfused;
  bool selective_recompute = false;
  // Lengths of the samples that share a sequence (packed_samples.hpp); empty: one has it all.
  std::vector<std::int64_t> samples;
  double part_of_step = 1;  // a micro-batch's tokens in all that a data-parallel rank has in a step
  // Where a backward pass puts the weight gradients of linears and convolutions off to; null:
  // computes them at once.
  std::vector<DeferredGradient>* deferred = nullptr;
  // Starts a collective that hides behind what is computed next, and returns what waits for its
  // end. Empty: collectives run first.
  std::function<std::function<void()>(const std::function<void()>& collective)> beside;
  // Runs what makes this rank's compute stream wait for a collective of the layers, and knows how
  // long that takes. Empty: nobody asks.
  std::function<void(const std::function<void()>& wait)> waiting;

  int tensor_size() const { return size_of(tensor); }
  int tensor_rank() const { return rank_in(tensor); }
  int context_size() const { return size_of(context); }
  int context_rank() const { return rank_in(context); }

  static int size_of(const Group* group) { return group ? group->size() : 1; }
  static int rank_in(const Group* group) { return group ? group->rank() : 0; }
};

// What a micro-batch feeds to the first layer and compares at the last one.
// Tokens: [b, s] int64 both, [b, s/c] of this rank's own under context parallelism (BERT: targets
// of all positions). Images: inputs [b, c, size, size] in the layers' type, targets [b] int64. MLP:
// inputs [b, width], targets [b] classes.
struct MicroBatch {
  at::Tensor input, target;
};

class LayerModule {
 public:
  virtual ~LayerModule() = default;
  // Leaves that require gradients unless they are frozen, in the order of Layer::tensors (split
  // ones: this rank's part). A tied head that was given the embedding's words does not list them.
  const std::vector<at::Tensor>& parameters() const { return parameters_; }
  // The first layer takes `batch.input` and ignores `input`. The last one returns the mean loss of
  // the micro-batch's tokens that this rank has, a scalar in fp32. Others map [s, b, h] to [s, b,
  // h] (s/c tokens of this rank's own under context parallelism, and 1/t of them under sequence
  // parallelism: sequence first, so that they are contiguous), or images to images. Under sequence
  // parallelism the gradients of unsplit tensors are this rank's share of a sum over the tensor
  // group (the plan's ReplicatedReduction), but for the first layer's, which are whole, and those
  // of routed experts, which are of the tokens that came from all ranks of their groups. Those of
  // tensors `of_heads` are such shares without it too.
  virtual at::Tensor forward(const at::Tensor& input, const MicroBatch& batch) = 0;

 protected:
  std::vector<at::Tensor> parameters_;
};

// Parameters start as one process would draw them, whatever the layout: each full tensor has
// a generator of its own, seeded by `seed`, the layer's index and the tensor's index, and a rank
// keeps its part. A tied head draws the words as the embedding does, or shares `tied_words`
// (undefined: it has its own copy). Requires a model of a family that the backend runs.
std::unique_ptr<LayerModule> make_layer(const Job& job, int layer, LayerContext& context,
                                        std::uint64_t seed, at::Tensor tied_words = {});

// Why the backend cannot run this job's model (synthetic models have no layers to run), or empty.
std::string model_complaint(const Job& job);

// Shape [s, b, h], [b, c, size, size] or [b, width] of what layer `layer` hands to the next one on
// one rank: the receiver of a pipeline message must know it before the message comes. Of the last
// layer: the loss's, a scalar's.
std::vector<std::int64_t> output_shape(const Job& job, int layer);

}  // namespace windtunnel

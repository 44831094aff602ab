// One rank's parameters, gradients and optimizer states, flat: in the buckets that the plan reduces
// and the shards that ZeRO keeps. The plan's reductions say what a bucket is.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "backend/comm/group.hpp"
#include "backend/execute/device.hpp"
#include "backend/model/layer_module.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// learning_rate without schedule or weight decay; the others as torch.optim's defaults. Clipping is
// to a norm of 1.
struct OptimizerSettings {
  double learning_rate = 1e-3;
  double momentum = 0.9;                              // SGD
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // Adam
};

// The layers of one rank, by layer index.
using RankLayers = std::map<int, std::unique_ptr<LayerModule>>;

class ParameterStore {
 public:
  // Takes the values that the modules have and makes their parameters views of its buckets. Job,
  // plan, layers and device must outlive it.
  ParameterStore(const Job& job, const Plan& plan, int rank, const RankLayers& layers,
                 Device& device, const OptimizerSettings& settings);
  ~ParameterStore();
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  void zero_gradients();
  void add_gradient(const at::Tensor& parameter, const at::Tensor& gradient);

  // Ops of the program, by index.
  void reduce(int op, Group& group);  // GradientReduction: averages over the data-parallel ranks
  void gather(int op, Group& group);  // ParameterGather
  void release(int first_layer, int end_layer);  // ZeRO-3: forgets the gathered weights
  void reduce_replicated(int op, Group& tensor);
  void reduce_embedding(int op, Group& group);

  void compute_norm();
  void reduce_norm(Group& group);
  void update();  // one step of the optimizer

  // Whole values of one tensor, sharded or not, as a copy in fp32: for tests and checkpoints. All
  // ranks of the shard group call it.
  at::Tensor value(int layer, int tensor, Group* shard_group) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace windtunnel

// The ops of a plan on tensors: layers by LibTorch, gradients, optimizer, real messages.
#pragma once

#include <functional>
#include <memory>

#include "backend/execute/device.hpp"
#include "backend/execute/parameter_store.hpp"
#include "backend/execute/rank_groups.hpp"
#include "backend/execute/rank_work.hpp"

namespace windtunnel {

class RealWork : public RankWork {
 public:
  virtual double loss() const = 0;  // of the last step, mean over this rank's micro-batches; 0 on
                                    // ranks without the last layer
  virtual at::Tensor parameter(int layer, int tensor) = 0;  // whole over the data ranks, fp32
};

// What micro-batch `index` of this rank feeds to the model in the step at hand.
using BatchSource = std::function<MicroBatch(const LayerContext&, int step, int index)>;
// The job's data (data.hpp), of which each data-parallel rank takes its part; the ranks of a
// context-parallel group have the same samples. Throws ConfigError as Data does. The job must
// outlive it.
BatchSource batches_of(const Job& job, const RankGrid& grid, int rank, std::uint64_t seed);

struct RealWorkSettings {
  std::uint64_t seed = 0;
  OptimizerSettings optimizer;
  BatchSource batches;
  // Told at the end of a step how long each pass of each layer took without collectives, in order;
  // may be empty.
  std::function<void(int layer, ActionType pass, Seconds time)> on_layer{};
};

// Requires run_complaint(job) empty. Job, plan, device and groups must outlive it.
std::shared_ptr<RealWork> make_real_work(const Job& job, const Plan& plan, int rank, Device& device,
                                         const RankGroups& groups,
                                         const RealWorkSettings& settings);

// Why the backend cannot run this job for real, or empty.
std::string run_complaint(const Job& job);

}  // namespace windtunnel

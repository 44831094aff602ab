// A whole job in one process: a thread for each rank, groups of threads in place of sockets.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backend/execute/device.hpp"
#include "backend/execute/real_work.hpp"
#include "backend/execute/run_step.hpp"
#include "backend/thread_group.hpp"
#include "config/load.hpp"

namespace windtunnel {

struct TensorSums {
  double sum = 0, squares = 0;
};

// What a job has learned: the mean loss of each step, and for each tensor of the model what its
// elements sum to, over the tensor-parallel ranks that hold parts of it.
struct Learned {
  std::vector<double> losses;
  std::map<std::string, TensorSums> tensors;
};

class ThreadedJob {
 public:
  ThreadedJob(const std::string& yaml, const std::vector<std::string>& overrides)
      : job_(load_job_text(yaml, WINDTUNNEL_SOURCE_DIR "/test.yaml", overrides)),
        plan_(build_plan(job_)) {
    use_one_thread_a_rank();
  }

  Learned learned(int steps) {
    Learned result;
    result.losses.resize(std::size_t(steps));
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < plan_.grid.size(); ++rank)
      ranks.emplace_back([&, rank] { run(rank, steps, result); });
    for (std::thread& rank : ranks) rank.join();
    return result;
  }

 private:
  void run(int rank, int steps, Learned& result) {
    const Coordinates at = plan_.grid.coordinates(rank);
    const RankGroups groups(plan_, rank,
                            [&](const std::string& name, const std::vector<int>& members) {
                              return hubs_.group(name, members, rank);
                            });
    // A larger epsilon than the default: Adam divides by gradients that are zero but for rounding.
    OptimizerSettings optimizer;
    optimizer.learning_rate = 0.02;
    optimizer.epsilon = 1e-3;
    const std::shared_ptr<Device> device = make_cpu_device(rank, false);
    const auto work = make_real_work(job_, plan_, rank, *device, groups,
                                     {.seed = kSeed,
                                      .optimizer = optimizer,
                                      .batches = batches_of(job_, plan_.grid, rank, kSeed)});
    const Program& program = plan_.programs[std::size_t(at.pipeline)];
    for (int step = 0; step < steps; ++step) {
      run_step(program, work, device);
      if (at.tensor == 0) {
        const std::lock_guard lock(mutex_);
        result.losses[std::size_t(step)] += work->loss() / plan_.grid.data;
      }
    }
    add_sums(*work, at, result);
  }

  // Replicas count once: the first data-parallel rank, and of whole tensors the first tensor one;
  // of experts the first ranks that hold them all.
  void add_sums(RealWork& work, const Coordinates& at, Learned& result) {
    for (int layer = 0; layer < int(job_.model.layers.size()); ++layer) {
      const auto& tensors = job_.model.layers[std::size_t(layer)].tensors;
      for (int i = 0; i < int(tensors.size()); ++i) {
        const at::Tensor value = work.parameter(layer, i);
        const Tensor& tensor = tensors[std::size_t(i)];
        const int in_line = at.tensor + plan_.grid.tensor * at.data;
        const bool counts = tensor.experts > 0 ? in_line < plan_.grid.expert_ranks()
                                               : at.data == 0 && (tensor.split || at.tensor == 0);
        if (!value.defined() || !counts) continue;
        const std::lock_guard lock(mutex_);
        TensorSums& sums = result.tensors[std::to_string(layer) + " " + tensor.name];
        sums.sum += value.sum().item<double>();
        sums.squares += value.square().sum().item<double>();
      }
    }
  }

  static constexpr std::uint64_t kSeed = 7;
  Job job_;
  Plan plan_;
  std::mutex mutex_;
  ThreadGroupHubs hubs_;
};

}  // namespace windtunnel

// A whole job in one process: a thread for each rank, groups of threads in place of sockets.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backend/execute/device.hpp"
#include "backend/execute/real_work.hpp"
#include "backend/execute/run_step.hpp"
#include "backend/model/data.hpp"
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
                              return group(name, members, rank);
                            });
    Data data(job_, kSeed);
    const auto batches = [&](const LayerContext& context, int step, int index) {
      const std::int64_t first =
          (std::int64_t(index) * job_.parallel.data + at.data) * job_.batch.micro;
      return data.micro_batch(context, step, first);
    };
    // A larger epsilon than the default: Adam divides by gradients that are zero but for rounding.
    OptimizerSettings optimizer;
    optimizer.learning_rate = 0.02;
    optimizer.epsilon = 1e-3;
    const std::shared_ptr<Device> device = make_cpu_device(rank, false);
    const auto work = make_real_work(job_, plan_, rank, *device, groups,
                                     {.seed = kSeed, .optimizer = optimizer, .batches = batches});
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

  // Replicas count once: the first data-parallel rank, and of whole tensors the first tensor one.
  void add_sums(RealWork& work, const Coordinates& at, Learned& result) {
    for (int layer = 0; layer < int(job_.model.layers.size()); ++layer) {
      const auto& tensors = job_.model.layers[std::size_t(layer)].tensors;
      for (int i = 0; i < int(tensors.size()); ++i) {
        const at::Tensor value = work.parameter(layer, i);
        const bool counts = at.data == 0 && (tensors[std::size_t(i)].split || at.tensor == 0);
        if (!value.defined() || !counts) continue;
        const std::lock_guard lock(mutex_);
        TensorSums& sums =
            result.tensors[std::to_string(layer) + " " + tensors[std::size_t(i)].name];
        sums.sum += value.sum().item<double>();
        sums.squares += value.square().sum().item<double>();
      }
    }
  }

  std::unique_ptr<Group> group(const std::string& name, const std::vector<int>& members, int rank) {
    const std::lock_guard lock(mutex_);
    auto& hub = hubs_[name];
    if (!hub) hub = std::make_shared<ThreadGroupHub>(int(members.size()));
    const auto place = std::find(members.begin(), members.end(), rank) - members.begin();
    return std::make_unique<ThreadGroup>(int(place), int(members.size()), hub);
  }

  static constexpr std::uint64_t kSeed = 7;
  Job job_;
  Plan plan_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<ThreadGroupHub>> hubs_;
};

}  // namespace windtunnel

#include "backend/calibrate/layer_times.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backend/calibrate/protocol.hpp"
#include "backend/calibrate/stand_in_group.hpp"
#include "backend/execute/measurement.hpp"
#include "backend/execute/real_work.hpp"
#include "backend/execute/run_step.hpp"
#include "plan/measured_times.hpp"

namespace windtunnel {

namespace {

constexpr std::uint64_t kSeed = 1;

// Names of series: the optimizer's, and "layer pass".
const std::string kUpdate = "update", kNorm = "norm";
std::string series_name(int layer, ActionType pass) {
  return fmt::format("{} {}", layer, int(pass));
}

// The steps of one program of a plan.
class Stage {
 public:
  Stage(const Job& job, const Plan& plan, int rank, std::shared_ptr<Device> device)
      : plan_(plan),
        program_(plan.programs[std::size_t(plan.grid.coordinates(rank).pipeline)]),
        groups_(plan, rank,
                [rank](const std::string&, const std::vector<int>& members) {
                  const auto at = std::find(members.begin(), members.end(), rank);
                  return make_stand_in_group(int(at - members.begin()), int(members.size()));
                }),
        device_(std::move(device)) {
    // Layers that are alike are one series.
    std::map<LayerIdentity, int> first_alike;
    for (int layer = 0; layer < int(job.model.layers.size()); ++layer)
      alike_.push_back(first_alike.try_emplace(layer_identity(job, layer), layer).first->second);
    work_ = make_real_work(job, plan, rank, *device_, groups_,
                           {.seed = kSeed,
                            .optimizer = {},
                            .batches = batches_of(job, plan.grid, rank, kSeed),
                            .on_layer = [this](int layer, ActionType pass, Seconds time) {
                              const int alike = alike_[std::size_t(layer)];
                              series_[series_name(alike, pass)].push_back(time.value);
                            }});
    double seconds = 0;
    for (int i = 0; i < kWarmUpSteps; ++i) {
      const double begin = monotonic_seconds();
      step();
      seconds = monotonic_seconds() - begin;
    }
    steps_ = std::max(kLeastSteps, int(std::ceil(kLeastTime.value / seconds)));
  }

  Series pass() {
    series_.clear();
    for (int i = 0; i < steps_; ++i) step();
    return series_;
  }

 private:
  void step() {
    const std::vector<OpTime> times = run_step(program_, work_, device_);
    for (std::size_t i = 0; i < times.size(); ++i) {
      const Op& op = program_.ops[i];
      if (op.kind != OpKind::Compute || op.purpose != Purpose::Optimizer) continue;
      const auto& name = plan_.blocks[std::size_t(op.block)].front().piece.name;
      series_[name == kOptimizerName ? kUpdate : kNorm].push_back(times[i].end - times[i].begin);
    }
  }

  const Plan& plan_;
  const Program& program_;
  RankGroups groups_;
  std::shared_ptr<Device> device_;
  std::vector<int> alike_;
  Series series_;
  std::shared_ptr<RealWork> work_;
  int steps_ = 0;
};

LayerTime& time_of(const Job& job, int layer, std::vector<LayerTime>& layers) {
  const LayerIdentity identity = layer_identity(job, layer);
  for (LayerTime& time : layers)
    if (time.identity == identity) return time;
  return layers.emplace_back(LayerTime{identity, layer_kin(job, layer), {}});
}

void add_point(MeasuredCurve& curve, double size, const Figure& figure) {
  auto at = curve.points.begin();
  while (at != curve.points.end() && at->size < size) ++at;
  if (at == curve.points.end() || at->size != size) curve.points.insert(at, {size, figure});
}

void add_optimizer(const Job& job, double parameters, const Judgements& judgements,
                   std::vector<OptimizerTime>& optimizers) {
  const auto update = judgements.find(kUpdate), norm = judgements.find(kNorm);
  if (update == judgements.end()) return;
  const std::string identity = optimizer_identity(job);
  auto time = std::find_if(optimizers.begin(), optimizers.end(),
                           [&](const OptimizerTime& other) { return other.identity == identity; });
  if (time == optimizers.end()) {
    optimizers.push_back({identity, {}, std::nullopt});
    time = optimizers.end() - 1;
  }
  add_point(time->update, parameters, update->second.figure);
  if (norm == judgements.end()) return;
  if (!time->norm) time->norm.emplace();
  add_point(*time->norm, parameters, norm->second.figure);
}

// A program of a job's plan and what its passes have shown.
struct Task {
  const Job& job;
  const Plan& plan;
  const Program& program;
  Passes passes;
};

// That the rank's optimizer moves, by the bytes that the plan has it move.
double updated_parameters(const Task& task) {
  for (const Op& op : task.program.ops) {
    if (op.purpose != Purpose::Optimizer) continue;
    const Piece& piece = task.plan.blocks[std::size_t(op.block)].front().piece;
    if (piece.name == kOptimizerName)
      return std::get<Work>(piece.what).bytes.value / optimizer_traffic(task.job);
  }
  return 0;
}

void add_figures(const Task& task, ComputeTimes& times) {
  const Job& job = task.job;
  const Judgements judgements = task.passes.judgements();
  for (const auto& [name, judgement] : judgements)
    if (!judgement.noise.empty())
      times.noise.push_back(fmt::format("{}, series {}: {}", job.name, name, judgement.noise));
  for (int layer = 0; layer < int(job.model.layers.size()); ++layer)
    for (const ActionType pass : {ActionType::F, ActionType::B, ActionType::I, ActionType::W}) {
      const auto found = judgements.find(series_name(layer, pass));
      if (found == judgements.end()) continue;
      auto& figure = time_of(job, layer, times.layers).passes[std::size_t(pass)];
      if (!figure) figure = found->second.figure;
    }
  add_optimizer(job, updated_parameters(task), judgements, times.optimizers);
}

}  // namespace

ComputeTimes measure_layers(const std::vector<Job>& jobs, const std::shared_ptr<Device>& device,
                            Progress& progress) {
  std::vector<Plan> plans;
  for (const Job& job : jobs) plans.push_back(build_plan(job));
  std::vector<Task> tasks;
  for (std::size_t i = 0; i < jobs.size(); ++i)
    for (const Program& program : plans[i].programs)
      tasks.push_back({jobs[i], plans[i], program, {}});
  // Passes of a program lie apart in time: a machine that is slow for a minute then slows one pass
  // of each, which the others outvote, not every pass of one size.
  for (int round = 0; round < kMostPasses; ++round)
    for (Task& task : tasks) {
      progress.begin(fmt::format("layers of {}, pipeline rank {}, pass {}", task.job.name,
                                 task.program.pipeline, round + 1),
                     1.0 / kMostPasses);
      if (task.passes.done()) continue;
      Coordinates at;
      at.pipeline = task.program.pipeline;
      task.passes.add(Stage(task.job, task.plan, task.plan.grid.rank(at), device).pass());
    }
  ComputeTimes times;
  for (const Task& task : tasks) add_figures(task, times);
  return times;
}

}  // namespace windtunnel

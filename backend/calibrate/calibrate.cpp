#include "backend/calibrate/calibrate.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <thread>

#include "backend/calibrate/beside_times.hpp"
#include "backend/calibrate/communication_times.hpp"
#include "backend/calibrate/kernel_times.hpp"
#include "backend/calibrate/layer_times.hpp"
#include "backend/calibrate/protocol.hpp"
#include "backend/execute/machine_description.hpp"
#include "backend/execute/measurement.hpp"

namespace windtunnel {

namespace {

bool is_real(const Job& job) {
  return job.compute == ComputeMode::Real;
}

}  // namespace

bool computes(const std::vector<Job>& jobs) {
  return jobs.empty() || std::ranges::any_of(jobs, is_real);
}

std::string noise_of_machine() {
  const ProcessorTimes before = processor_times();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const ProcessorTimes after = processor_times();
  const int processors = int(std::thread::hardware_concurrency());
  const double seconds = (after.total - before.total) / processors;
  if (seconds <= 0) return "";  // no /proc/stat: passes must judge alone
  double load = 0;
  getloadavg(&load, 1);
  return noise_before((after.busy - before.busy) / seconds, (after.steal - before.steal) / seconds,
                      load, processors);
}

std::string complaints_text(const std::vector<std::string>& complaints, std::size_t most) {
  std::string text;
  for (std::size_t i = 0; i < complaints.size() && i < most; ++i)
    text += fmt::format("  {}\n", complaints[i]);
  if (complaints.size() > most) text += fmt::format("  and {} more\n", complaints.size() - most);
  return text;
}

namespace {

// What the jobs' ranks are; without a job a core.
GpuSpec gpu_of(const std::vector<Job>& jobs) {
  if (!jobs.empty()) return jobs.front().cluster.node_types.front().gpu;
  GpuSpec core;
  core.arch = "cpu";
  return core;
}

}  // namespace

std::optional<Calibration> calibrate(const std::vector<Job>& jobs, Rendezvous& rendezvous,
                                     int ranks_per_node,
                                     const std::function<void(const std::string&)>& doing) {
  at::set_num_threads(1);
  const Place& place = rendezvous.place();
  const GpuSpec gpu = gpu_of(jobs);
  const bool is_cpu = gpu.arch == "cpu";
  std::vector<Job> computing;
  std::ranges::copy_if(jobs, std::back_inserter(computing), is_real);
  std::optional<KernelGrid> grid;
  if (computes(jobs)) grid = is_cpu ? core_grid() : gpu_grid(computing);
  const std::shared_ptr<Device> device = make_device(gpu, place.local_rank);
  Progress progress(place.rank == 0);
  for (const Job& job : computing) progress.expect(job.parallel.pipeline);
  progress.expect(communication_tasks(jobs, place.world));
  if (grid) progress.expect(beside_tasks(place.world) + kernel_tasks(*grid));

  // Groups before pinning: threads inherit the wide affinity.
  doing("calibration of communication");
  Place on_nodes = place;
  on_nodes.local_world = ranks_per_node;
  const RankGroups::Maker make_group = [&](const std::string& name,
                                           const std::vector<int>& members) {
    return rendezvous.group(name, members, device->place());
  };
  CommunicationTimes communication =
      measure_communication(jobs, on_nodes, make_group, *device, progress);
  BesideTimes beside;
  if (grid)
    beside = measure_beside(is_cpu ? core_beside() : gpu_beside(grid->type), on_nodes, make_group,
                            *device, progress);
  doing("calibration of layers");
  ComputeTimes compute = measure_layers(computing, device, progress);
  doing("calibration of kernels");
  KernelTimes kernels;
  if (grid) kernels = measure_kernels(*device, *grid, gpu, progress);
  if (place.rank != 0) {
    rendezvous.set(fmt::format("calibrated {}", place.rank), "done");
    return std::nullopt;
  }
  for (int rank = 1; rank < place.world; ++rank) rendezvous.get(fmt::format("calibrated {}", rank));

  const DeviceFacts facts = device->facts();
  Calibration result;
  for (auto* noise : {&communication.noise, &beside.noise, &compute.noise, &kernels.noise})
    result.noise.insert(result.noise.end(), std::make_move_iterator(noise->begin()),
                        std::make_move_iterator(noise->end()));
  result.profile = {.name = fmt::format("{} ranks", place.world),
                    .source = "windtunnel calibrate",
                    .date = utc_date(),
                    .hardware = facts.hardware,
                    .software = facts.software,
                    .layers = std::move(compute.layers),
                    .optimizers = std::move(compute.optimizers),
                    .collectives = std::move(communication.collectives),
                    .messages = std::move(communication.messages),
                    .slowdowns = std::move(beside.slowdowns),
                    .cpu_seconds_per_byte = beside.cpu_seconds_per_byte,
                    .kernel_issue = kernels.issue};
  if (place.world == 1) result.profile.name = "1 rank";
  if (grid) {
    result.profile.gpu = std::move(kernels.gpu);
    // Ranks share the memory of a host.
    if (is_cpu) result.profile.gpu->memory = result.profile.gpu->memory / place.local_world;
  }
  return result;
}

}  // namespace windtunnel

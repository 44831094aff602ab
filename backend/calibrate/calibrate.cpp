#include "backend/calibrate/calibrate.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <chrono>
#include <iterator>
#include <thread>

#include "backend/calibrate/communication_times.hpp"
#include "backend/calibrate/kernel_times.hpp"
#include "backend/calibrate/layer_times.hpp"
#include "backend/calibrate/protocol.hpp"
#include "backend/execute/machine_description.hpp"
#include "backend/execute/measurement.hpp"

namespace windtunnel {

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
                                     const std::function<void(const std::string&)>& doing) {
  at::set_num_threads(1);
  const Place& place = rendezvous.place();
  const GpuSpec gpu = gpu_of(jobs);
  const bool is_cpu = gpu.arch == "cpu";
  const KernelGrid grid = is_cpu ? core_grid() : gpu_grid(jobs);
  const std::shared_ptr<Device> device = make_device(gpu, place.local_rank);
  Progress progress(place.rank == 0);
  for (const Job& job : jobs) progress.expect(job.parallel.pipeline);
  if (is_cpu) progress.expect(communication_tasks(jobs, place.world));
  progress.expect(kernel_tasks(grid));

  // Groups before pinning: threads inherit the wide affinity.
  doing("calibration of communication");
  CommunicationTimes communication;
  if (is_cpu) communication = measure_communication(jobs, rendezvous, progress);
  doing("calibration of layers");
  ComputeTimes compute = measure_layers(jobs, device, progress);
  doing("calibration of kernels");
  KernelTimes kernels = measure_kernels(*device, grid, gpu, progress);
  if (place.rank != 0) {
    rendezvous.set(fmt::format("calibrated {}", place.rank), "done");
    return std::nullopt;
  }
  for (int rank = 1; rank < place.world; ++rank) rendezvous.get(fmt::format("calibrated {}", rank));

  const DeviceFacts facts = device->facts();
  Calibration result;
  for (auto* noise : {&communication.noise, &compute.noise, &kernels.noise})
    result.noise.insert(result.noise.end(), std::make_move_iterator(noise->begin()),
                        std::make_move_iterator(noise->end()));
  result.profile = {.name = fmt::format("{} ranks", place.world),
                    .source = "windtunnel calibrate",
                    .date = utc_date(),
                    .hardware = facts.hardware,
                    .software = facts.software,
                    .gpu = std::move(kernels.gpu),
                    .layers = std::move(compute.layers),
                    .optimizers = std::move(compute.optimizers),
                    .collectives = std::move(communication.collectives),
                    .messages = std::move(communication.messages),
                    .cpu_seconds_per_byte = communication.cpu_seconds_per_byte,
                    .kernel_issue = kernels.issue};
  if (place.world == 1) result.profile.name = "1 rank";
  // Ranks share the memory of a host.
  if (is_cpu) result.profile.gpu->memory = result.profile.gpu->memory / place.local_world;
  return result;
}

}  // namespace windtunnel

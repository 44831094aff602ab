// Measures what a simulation costs: events, CPU seconds and peak memory of one job at one fidelity.
//
//     bench JOB [FIDELITY] [path=value ...]
//
// One simulation per process, so that memory is that simulation's own. CPU time includes loading
// the job, building cluster and plan, and SimGrid's start. Times depend on the machine and on what
// else runs there; events do not.
#include <sys/resource.h>

#include <cstdio>
#include <string>
#include <vector>

#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"

namespace {

using namespace windtunnel;

int measure(const std::string& path, const std::vector<std::string>& overrides) {
  const Job job = load_job(path, overrides);
  const Plan plan = build_plan(job);
  const Cluster cluster = build_cluster(job.cluster, job.gpus);
  const Trace trace = simulate(plan, cluster, conditions_of(job));
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  std::printf(
      "%-28s %-7s %6d GPUs %6zu simulated %10llu events %8.2f CPU-s %6.0f MB  step %.9f s\n",
      job.name.c_str(), std::string(name_of(kFidelityNames, job.fidelity)).c_str(), job.gpus,
      trace.ranks.size(), static_cast<unsigned long long>(trace.events),
      seconds(use.ru_utime) + seconds(use.ru_stime), double(use.ru_maxrss) / 1000, trace.end.value);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench JOB [FIDELITY] [path=value ...]\n");
    return 2;
  }
  std::vector<std::string> overrides;
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    overrides.push_back(argument.find('=') == std::string::npos ? "fidelity=" + argument
                                                                : argument);
  }
  try {
    return measure(argv[1], overrides);
  } catch (const windtunnel::ConfigError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

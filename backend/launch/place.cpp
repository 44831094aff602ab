#include "backend/launch/place.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "backend/backend_error.hpp"
#include "backend/launch/slurm.hpp"

namespace windtunnel {

namespace {

// What a launcher calls its variables. One with an `address` of its own has a `port` too.
struct Launcher {
  const char* name;
  const char *rank, *world, *local_rank, *local_world;
  const char* address;
  const char* port;
  const char* missing_address;  // how a user of this launcher sets the last two
};

// In the order in which they are believed: mpirun and torchrun also run inside a Slurm job. The
// names are those that the launchers document: docs.pytorch.org "torchrun", Open MPI's FAQ
// "environment variables", Intel MPI's and MVAPICH2's user guides, Slurm's srun(1).
constexpr Launcher kLaunchers[] = {
    {"windtunnel run", "WINDTUNNEL_RANK", "WINDTUNNEL_WORLD", "WINDTUNNEL_LOCAL_RANK",
     "WINDTUNNEL_LOCAL_WORLD", "WINDTUNNEL_ADDRESS", "WINDTUNNEL_PORT", ""},
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR",
     "MASTER_PORT", ""},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT",
     "; say mpirun -x MASTER_ADDR=HOST_OF_RANK_0 -x MASTER_PORT=29500"},
    {"MPICH or Intel MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS",
     "MASTER_ADDR", "MASTER_PORT",
     "; say mpiexec -genv MASTER_ADDR HOST_OF_RANK_0 -genv MASTER_PORT 29500"},
    {"MVAPICH2", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK",
     "MV2_COMM_WORLD_LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT",
     "; say mpirun_rsh ... MASTER_ADDR=HOST_OF_RANK_0 MASTER_PORT=29500 PROGRAM"},
};

int number_of(const std::string& text, const std::string& variable) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size())
    throw BackendError(fmt::format("{}=\"{}\" is not a number", variable, text));
  return number;
}

void check_place(const Place& place, const char* launcher) {
  const auto refuse = [&](const std::string& why) {
    throw BackendError(fmt::format("the environment of {} contradicts itself: {}", launcher, why));
  };
  if (place.rank < 0 || place.rank >= place.world)
    refuse(fmt::format("rank {} of {}", place.rank, place.world));
  if (place.local_world > place.world)
    refuse(fmt::format("{} processes on this host, {} in all", place.local_world, place.world));
  if (place.local_rank < 0 || place.local_rank >= place.local_world)
    refuse(fmt::format("local rank {} of {}", place.local_rank, place.local_world));
  if (place.port < 1 || place.port > 65535) refuse(fmt::format("port {}", place.port));
}

// Empty, with `complaint`, when a variable is missing; empty without one when there is no sign of
// the launcher.
std::optional<Place> place_from(const Launcher& launcher, const Variables& variables,
                                std::string& complaint) {
  if (!variables(launcher.rank) && !variables(launcher.world)) return std::nullopt;
  for (const char* needed : {launcher.rank, launcher.world, launcher.local_rank,
                             launcher.local_world, launcher.address, launcher.port})
    if (!variables(needed)) {
      const bool of_address = needed == launcher.address || needed == launcher.port;
      complaint = fmt::format("started by {}, but {} is not set{}", launcher.name, needed,
                              of_address ? launcher.missing_address : "");
      return std::nullopt;
    }
  const auto number = [&](const char* name) { return number_of(*variables(name), name); };
  Place place;
  place.rank = number(launcher.rank);
  place.world = number(launcher.world);
  place.local_rank = number(launcher.local_rank);
  place.local_world = number(launcher.local_world);
  place.address = *variables(launcher.address);
  place.port = number(launcher.port);
  if (launcher.rank == std::string_view("RANK")) {
    place.store_is_hosted = variables("TORCHELASTIC_USE_AGENT_STORE") == "True";
    if (variables("TORCHELASTIC_RESTART_COUNT"))
      place.attempt = number("TORCHELASTIC_RESTART_COUNT");
  }
  check_place(place, launcher.name);
  return place;
}

// srun says where it ran but not where to meet: the first host of the step, and a port that jobs
// which share a host are unlikely to share.
std::optional<Place> place_from_slurm(const Variables& variables, std::string& complaint) {
  // A batch script and an interactive shell have a rank too, 0, though srun started no job in them:
  // there, this is no step, or a step of one process.
  if (!variables("SLURM_STEP_ID") || variables("SLURM_STEP_NUM_TASKS") == "1") return std::nullopt;
  for (const char* needed :
       {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NODEID",
        "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST", "SLURM_JOB_ID"})
    if (!variables(needed)) {
      complaint = fmt::format("started by Slurm's srun, but {} is not set", needed);
      return std::nullopt;
    }
  const auto number = [&](const char* name) { return number_of(*variables(name), name); };
  const std::string tasks = *variables("SLURM_STEP_TASKS_PER_NODE");
  const std::optional<int> local_world = slurm_tasks_on_node(tasks, number("SLURM_NODEID"));
  if (!local_world)
    throw BackendError(
        fmt::format("SLURM_STEP_TASKS_PER_NODE=\"{}\" does not say how many tasks "
                    "node {} has",
                    tasks, number("SLURM_NODEID")));
  Place place;
  place.rank = number("SLURM_PROCID");
  place.world = number("SLURM_STEP_NUM_TASKS");
  place.local_rank = number("SLURM_LOCALID");
  place.local_world = *local_world;
  place.address =
      variables("MASTER_ADDR").value_or(slurm_first_host(*variables("SLURM_STEP_NODELIST")));
  place.port =
      variables("MASTER_PORT") ? number("MASTER_PORT") : 20000 + number("SLURM_JOB_ID") % 30000;
  check_place(place, "Slurm's srun");
  return place;
}

}  // namespace

std::optional<Place> place_from(const Variables& variables) {
  std::string complaint, first_complaint;
  const auto keep_first = [&] {
    if (first_complaint.empty()) first_complaint = complaint;
  };
  for (const Launcher& launcher : kLaunchers) {
    if (auto place = place_from(launcher, variables, complaint)) return place;
    keep_first();
  }
  if (auto place = place_from_slurm(variables, complaint)) return place;
  keep_first();
  if (!first_complaint.empty()) throw BackendError(first_complaint);
  return std::nullopt;
}

std::optional<Place> place_from_environment() {
  return place_from([](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (!value) return std::nullopt;
    return value;
  });
}

}  // namespace windtunnel

#include "commands/ranks.hpp"

#ifdef WINDTUNNEL_MPI
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <dlfcn.h>
#include <mpi.h>
#endif

#include <array>
#include <cstdlib>
#include <string_view>

#include "config/config_error.hpp"

namespace windtunnel {
namespace {

// Starting MPI takes longer than most simulations, so it starts only where a launcher says that
// there is more than this process.
bool is_one_of_many() {
  // Open MPI, MPICH and its kin, srun.
  static constexpr std::array<const char*, 3> kSizes = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                                        "SLURM_STEP_NUM_TASKS"};
  for (const char* name : kSizes)
    if (const char* size = std::getenv(name); size != nullptr && std::atoi(size) > 1) return true;
  return false;
}

}  // namespace

#ifdef WINDTUNNEL_MPI

namespace {

constexpr int kResult = 1;  // the tag of all messages

// SimGrid has an MPI of its own for simulated programs, and its functions have the same names. The
// build links MPI before it; a library that is loaded first in another way would still win.
void refuse_simulated_mpi() {
  Dl_info owner;
  const bool is_known = dladdr(reinterpret_cast<void*>(&MPI_Init), &owner) != 0;
  if (is_known && std::string_view(owner.dli_fname).find("simgrid") != std::string_view::npos)
    throw ConfigError(
        "MPI_Init is SimGrid's, not the MPI library's: build again, or start one "
        "process without mpirun or srun");
}

}  // namespace

Ranks::Ranks() {
  if (!is_one_of_many()) return;
  refuse_simulated_mpi();
  MPI_Init(nullptr, nullptr);
  session_ = {nullptr, [](void*) { MPI_Finalize(); }};
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
}

std::string Ranks::broadcast(std::string text) {
  if (size_ == 1) return text;
  unsigned long size = text.size();
  MPI_Bcast(&size, 1, MPI_UNSIGNED_LONG, 0, MPI_COMM_WORLD);
  text.resize(size);
  MPI_Bcast(text.data(), int(size), MPI_CHAR, 0, MPI_COMM_WORLD);
  return text;
}

void Ranks::send(const std::string& text) {
  MPI_Send(text.data(), int(text.size()), MPI_CHAR, 0, kResult, MPI_COMM_WORLD);
}

std::optional<std::string> Ranks::receive() {
  if (size_ == 1) return std::nullopt;
  int is_there = 0, size = 0;
  MPI_Status status;
  MPI_Iprobe(MPI_ANY_SOURCE, kResult, MPI_COMM_WORLD, &is_there, &status);
  if (is_there == 0) return std::nullopt;
  MPI_Get_count(&status, MPI_CHAR, &size);
  std::string text(std::size_t(size), '\0');
  MPI_Recv(text.data(), size, MPI_CHAR, status.MPI_SOURCE, kResult, MPI_COMM_WORLD,
           MPI_STATUS_IGNORE);
  return text;
}

#else

Ranks::Ranks() {
  if (is_one_of_many())
    throw ConfigError(
        "started several times by mpirun or srun, but built without MPI: install "
        "an MPI library and build again, or start one process");
}

std::string Ranks::broadcast(std::string text) {
  return text;
}

void Ranks::send(const std::string&) {}

std::optional<std::string> Ranks::receive() {
  return std::nullopt;
}

#endif

}  // namespace windtunnel

// Where this process stands in the job: told by the launcher that started it.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace windtunnel {

struct Place {
  int rank = 0, world = 1;
  int local_rank = 0, local_world = 1;
  std::string address = "127.0.0.1";  // of the store that all meet at
  int port = 0;
  bool store_is_hosted = false;  // the launcher hosts the store already: rank 0 is a client too
  int attempt = 0;  // restarts of the job so far, each of which has keys of its own in the store
};

// Reads what torchrun, Open MPI, MPICH / Intel MPI, MVAPICH2, Slurm's srun or `windtunnel run`
// itself put into the environment; the first complete family wins and families are never mixed.
// Nothing: this process was started by a person. Throws BackendError when a family is there but
// incomplete or contradictory.
std::optional<Place> place_from_environment();

// The same from any variables; empty: not set.
using Variables = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<Place> place_from(const Variables& variables);

}  // namespace windtunnel

// Each launcher's variables, mixtures of them, and sets that are incomplete or contradictory.
#include "backend/catch.hpp"

#include <map>

#include "backend/backend_error.hpp"
#include "backend/launch/place.hpp"
#include "backend/launch/slurm.hpp"

namespace windtunnel {

namespace {

using Set = std::map<std::string, std::string>;

std::optional<Place> place_of(const Set& set) {
  return place_from([&](const std::string& name) -> std::optional<std::string> {
    const auto found = set.find(name);
    if (found == set.end()) return std::nullopt;
    return found->second;
  });
}

Set operator+(Set a, const Set& b) {
  a.insert(b.begin(), b.end());
  return a;
}

std::string refusal_of(const Set& set) {
  try {
    place_of(set);
    return "";
  } catch (const BackendError& error) {
    return error.what();
  }
}

void check_place(const Set& set, int rank, int world, int local_rank, int local_world,
                 const std::string& address, int port) {
  const auto place = place_of(set);
  REQUIRE(place);
  CHECK(place->rank == rank);
  CHECK(place->world == world);
  CHECK(place->local_rank == local_rank);
  CHECK(place->local_world == local_world);
  CHECK(place->address == address);
  CHECK(place->port == port);
}

const Set kMaster = {{"MASTER_ADDR", "gpu1"}, {"MASTER_PORT", "29500"}};
const Set kOwn = {{"WINDTUNNEL_RANK", "1"},       {"WINDTUNNEL_WORLD", "2"},
                  {"WINDTUNNEL_LOCAL_RANK", "1"}, {"WINDTUNNEL_LOCAL_WORLD", "2"},
                  {"WINDTUNNEL_ADDRESS", "::1"},  {"WINDTUNNEL_PORT", "4000"}};
const Set kTorchrun =
    Set{{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "4"}} +
    kMaster;
const Set kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                      {"OMPI_COMM_WORLD_SIZE", "6"},
                      {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                      {"OMPI_COMM_WORLD_LOCAL_SIZE", "3"}};
const Set kHydra = {
    {"PMI_RANK", "2"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "2"}};
const Set kMvapich = {{"MV2_COMM_WORLD_RANK", "7"},
                      {"MV2_COMM_WORLD_SIZE", "9"},
                      {"MV2_COMM_WORLD_LOCAL_RANK", "1"},
                      {"MV2_COMM_WORLD_LOCAL_SIZE", "3"}};
const Set kSlurm = {{"SLURM_STEP_ID", "0"},
                    {"SLURM_PROCID", "9"},
                    {"SLURM_STEP_NUM_TASKS", "10"},
                    {"SLURM_NTASKS", "99"},
                    {"SLURM_LOCALID", "1"},
                    {"SLURM_NODEID", "2"},
                    {"SLURM_STEP_TASKS_PER_NODE", "4(x2),2"},
                    {"SLURM_STEP_NODELIST", "gpu[07-08,11]"},
                    {"SLURM_JOB_ID", "123456"}};

}  // namespace

TEST_CASE("every launcher tells the place") {
  check_place(kOwn, 1, 2, 1, 2, "::1", 4000);
  check_place(kTorchrun, 5, 8, 1, 4, "gpu1", 29500);
  check_place(kOpenMpi + kMaster, 3, 6, 0, 3, "gpu1", 29500);
  check_place(kHydra + kMaster, 2, 4, 0, 2, "gpu1", 29500);
  check_place(kMvapich + kMaster, 7, 9, 1, 3, "gpu1", 29500);
  check_place(kSlurm, 9, 10, 1, 2, "gpu07", 20000 + 123456 % 30000);
  check_place(kSlurm + kMaster, 9, 10, 1, 2, "gpu1", 29500);
  CHECK(!place_of({}));
  CHECK(!place_of(kMaster));
}

TEST_CASE("torchrun's agent hosts the store, and restarts the job") {
  CHECK(!place_of(kTorchrun)->store_is_hosted);
  CHECK(place_of(kTorchrun)->attempt == 0);
  const auto place = place_of(kTorchrun + Set{{"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                              {"TORCHELASTIC_RESTART_COUNT", "2"}});
  CHECK(place->store_is_hosted);
  CHECK(place->attempt == 2);
  // A rank of Open MPI below an agent has no store of the agent's.
  CHECK(!place_of(kOpenMpi + kMaster + Set{{"TORCHELASTIC_USE_AGENT_STORE", "True"}})
             ->store_is_hosted);
}

TEST_CASE("of two launchers the first complete one counts, and they never mix") {
  CHECK(place_of(kTorchrun + kOwn)->world == 2);
  CHECK(place_of(kTorchrun + kOpenMpi)->world == 8);
  CHECK(place_of(kSlurm + kOpenMpi + kMaster)->world == 6);
  // srun --mpi=pmi2 sets two of hydra's variables.
  CHECK(place_of(kSlurm + Set{{"PMI_RANK", "9"}, {"PMI_SIZE", "10"}})->local_world == 2);
  Set half = kOpenMpi + kHydra + kMaster;
  half.erase("OMPI_COMM_WORLD_SIZE");
  CHECK(place_of(half)->rank == 2);
}

TEST_CASE("a batch script and an interactive shell of Slurm are no job of ranks") {
  Set batch = kSlurm;
  batch.erase("SLURM_STEP_ID");
  CHECK(!place_of(batch));
  Set shell = kSlurm;
  shell["SLURM_STEP_NUM_TASKS"] = "1";
  CHECK(!place_of(shell));
}

TEST_CASE("incomplete sets say which variable is missing") {
  for (const Set& complete :
       {kOwn, kTorchrun, kOpenMpi + kMaster, kHydra + kMaster, kMvapich + kMaster})
    for (const auto& [name, value] : complete) {
      Set set = complete;
      set.erase(name);
      INFO(name);
      CHECK(refusal_of(set).find(name + " is not set") != std::string::npos);
    }
  CHECK(refusal_of(kOpenMpi) ==
        "started by Open MPI, but MASTER_ADDR is not set; say mpirun -x "
        "MASTER_ADDR=HOST_OF_RANK_0 -x MASTER_PORT=29500");
  Set slurm = kSlurm;
  slurm.erase("SLURM_STEP_NODELIST");
  CHECK(refusal_of(slurm) == "started by Slurm's srun, but SLURM_STEP_NODELIST is not set");
}

TEST_CASE("contradictions are refused") {
  const auto with = [](const std::string& name, const std::string& value) {
    return refusal_of(Set{{name, value}} + kTorchrun);
  };
  const std::string contradiction = "the environment of torchrun contradicts itself: ";
  CHECK(with("RANK", "8") == contradiction + "rank 8 of 8");
  CHECK(with("RANK", "-1") == contradiction + "rank -1 of 8");
  CHECK(with("LOCAL_RANK", "4") == contradiction + "local rank 4 of 4");
  CHECK(with("LOCAL_WORLD_SIZE", "9") == contradiction + "9 processes on this host, 8 in all");
  CHECK(with("MASTER_PORT", "65536") == contradiction + "port 65536");
  CHECK(with("WORLD_SIZE", "many") == "WORLD_SIZE=\"many\" is not a number");
  CHECK(with("WORLD_SIZE", "8 ") == "WORLD_SIZE=\"8 \" is not a number");
  CHECK(with("WORLD_SIZE", "99999999999") == "WORLD_SIZE=\"99999999999\" is not a number");
  CHECK(with("WORLD_SIZE", "") == "WORLD_SIZE=\"\" is not a number");
}

TEST_CASE("Slurm's lists") {
  CHECK(slurm_first_host("gpu7") == "gpu7");
  CHECK(slurm_first_host("gpu7,gpu9") == "gpu7");
  CHECK(slurm_first_host("gpu[003-004,7],login") == "gpu003");
  CHECK(slurm_first_host("gpu[3,7]-ib") == "gpu3-ib");
  CHECK(slurm_first_host("rack[1-2]node[4-5]") == "rack1node4");
  CHECK(slurm_tasks_on_node("4(x2),1", 0) == 4);
  CHECK(slurm_tasks_on_node("4(x2),1", 1) == 4);
  CHECK(slurm_tasks_on_node("4(x2),1", 2) == 1);
  CHECK(!slurm_tasks_on_node("4(x2),1", 3));
  CHECK(!slurm_tasks_on_node("", 0));
  CHECK(!slurm_tasks_on_node("four", 0));
}

}  // namespace windtunnel

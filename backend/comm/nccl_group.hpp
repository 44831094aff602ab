// Groups of GPUs: NCCL through its own interface, on the calling thread's current CUDA stream.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/comm/rendezvous.hpp"

namespace windtunnel {

// The rendezvous carries the communicator's unique id; `rank` is this process's index among
// `members`.
std::unique_ptr<Group> make_nccl_group(Rendezvous& rendezvous, const std::string& name,
                                       const std::vector<int>& members, int rank,
                                       at::Device device);

}  // namespace windtunnel

// What measurements add to NCCL's own model, which is made for choosing: it is right for large
// messages and up to twice too fast for small ones.
#pragma once

#include "collectives/nccl_model.hpp"

namespace windtunnel {

// The cost of a choice as it was measured elsewhere. Inside a node joined by NVLink: the model's
// time, times a factor of the size; NVLS on Hopper at its measured bandwidth. Between nodes the
// model as it is: no factor of one system helps another there (validation/README.md).
NcclCost measured_cost(NcclCost model, const NcclGraph& graph, int nodes, Bytes size);

}  // namespace windtunnel

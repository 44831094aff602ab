// What measurements add to NCCL's own model, which is made for choosing: it is right for large
// messages of a whole node and up to three times too fast for small ones and for pairs.
#pragma once

#include "collectives/nccl_model.hpp"

namespace windtunnel {

// Measured over modelled time inside a node joined by NVLink, by the generation of the card, the
// collective, the number of ranks and the size; 1 elsewhere: no factor of one system helps another
// between nodes (validation/README.md). For all-to-all the model is the pairs' time on the links.
double measured_over_model(const NcclGraph& graph, CollectiveKind kind, int ranks, int nodes,
                           Bytes size);

// The cost of a choice as it was measured elsewhere; NVLS on Hopper at its measured bandwidth.
NcclCost measured_cost(NcclCost model, const NcclGraph& graph, CollectiveKind kind, int ranks,
                       int nodes, Bytes size);

}  // namespace windtunnel

// Chakra execution traces: a Plan out, one file for each rank, and such files in as a Plan.
//
// A set of traces has a prefix, as in ASTRA-sim: PREFIX.0.et, PREFIX.1.et, ... and
// PREFIX.comm_group.json, {"1": [0, 1], ...}: the ranks of each process group. A file is a sequence
// of messages, each after its length as a varint: GlobalMetadata, then Nodes.
//
// Sizes: comm_size is what one rank puts in, so that of an all-gather is its share (ASTRA-sim,
// system/astraccl/native_collectives: Ring). Two attributes of our own, which other readers skip,
// say exactly what the schema rounds to whole microseconds and bytes: windtunnel_seconds and
// windtunnel_bytes (the full buffer, as collectives/ counts).
// Source: mlcommons/chakra, schema/protobuf/et_def.proto and src/feeder; astra-sim/astra-sim,
// astra-sim/workload/Workload.cc and HardwareResource.cc.
//
// What a trace does not say: memory, layers and what an op is for; which kernels a slowdown of the
// job or its cluster applies to (durations are those of a healthy GPU); noise.
#pragma once

#include <string>

#include "cluster/cluster.hpp"
#include "plan/plan.hpp"

namespace windtunnel {

// Makes the folder. Kernels last as long as on the GPU of their rank; kernels between two
// collectives are one node. A slow host (Job::host) is not in a trace. Returns what went wrong as a
// sentence, or an empty string; no partly written file is ever left.
std::string write_chakra(const Plan& plan, const Cluster& cluster, const std::string& prefix);

struct ChakraTraces {
  Plan plan;            // runs to its end if there is no problem
  std::string problem;  // what is wrong, in the form "FILE: error: node 5: ..."
};
// Of exactly this many ranks. A rank's kernels run in the order of its file, and so do its
// collectives of one group; other nodes begin when what they depend on has ended.
ChakraTraces read_chakra(const std::string& prefix, int ranks);

// PREFIX.RANK.et and PREFIX.comm_group.json.
std::string chakra_file(const std::string& prefix, int rank);
std::string chakra_groups_file(const std::string& prefix);

}  // namespace windtunnel

// Reduction and multicast in the NVLink switch. n members of one node, S bytes, latency a,
// bandwidth B per member and direction.
// Steps: 2 all-reduce (read the sum, write it to all), 1 all-gather and reduce-scatter.
// Bytes per port, busier direction: S (1 + 1/n) all-reduce, S all-gather and reduce-scatter.
// Time alone: 2 a + S (1 + 1/n) / B, a + S / B.
// Where the bytes come from: a member owns S/n. Its multimem.ld_reduce makes the switch read S/n
// from every port, so each port sends S and receives S/n; its multimem.st writes S/n to every port,
// its own too, so each port sends S/n and receives S. All-reduce is both.
// Source: NVIDIA/nccl 2.30.7, src/device (NVLS kernels); PTX ISA, multimem.
// Leaves out: more than one node (NCCL's NVLSTree and CollNet); the switch's own limits; the order
// of data, so `rounds` is not defined: the edges form a ring only to load each port once, and both
// directions of a port get the bytes of the busier one.
#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

bool supports(CollectiveKind kind, const Group& group) {
  return (kind == CollectiveKind::AllReduce || kind == CollectiveKind::AllGather ||
          kind == CollectiveKind::ReduceScatter) &&
         group.nodes() == 1;
}

std::vector<Phase> phases(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "nvls does not fit this collective or group");
  const int n = group.size();
  if (n == 1) return {};
  const bool all_reduce = kind == CollectiveKind::AllReduce;
  Phase phase{.edges = {},
              .bytes_per_edge = all_reduce ? size * (n + 1) / n : size,
              .rounds = all_reduce ? 2 : 1};
  for (int member = 0; member < n; ++member) phase.edges.push_back({member, (member + 1) % n});
  return {phase};
}

std::vector<Round> rounds(CollectiveKind, const Group&, Bytes) {
  return {};
}

}  // namespace

constinit const CollectiveAlgorithm kNvls = {
    .name = "nvls",
    .supports = supports,
    .phases = phases,
    .rounds = rounds,
    .source = "NVIDIA/nccl 2.30.7, NVLS kernels; PTX ISA, multimem"};

}  // namespace windtunnel

// Pairwise exchange. n members, S bytes per member of which S/n for each, latency a, bandwidth B
// per member and direction. In round r, member m sends to m + r and hears from m - r.
// Steps: n-1. Bytes sent per member: S (n-1)/n. Time alone: (n-1)(a + S/(nB)).
// Source: Thakur, Rabenseifner & Gropp 2005, Int. J. High Perform. Comput. Appl. 19(1) (all-to-all
// of long messages). Leaves out: waiting between rounds in `phases`. All n(n-1) edges are one
// phase, because no member waits for the whole group between exchanges: a NIC is busy with the
// members of other nodes while NVLink serves the node. `rounds` is the lockstep form.
#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

bool supports(CollectiveKind kind, const Group&) {
  return kind == CollectiveKind::AllToAll;
}

std::vector<Phase> phases(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "pairwise does not know this collective");
  const int n = group.size();
  if (n == 1) return {};
  Phase phase{.edges = {}, .bytes_per_edge = size / n, .rounds = n - 1};
  phase.edges.reserve(std::size_t(n) * std::size_t(n - 1));
  for (int round = 1; round < n; ++round)
    for (int member = 0; member < n; ++member)
      phase.edges.push_back({member, (member + round) % n});
  return {phase};
}

std::vector<Round> rounds(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "pairwise does not know this collective");
  const int n = group.size();
  std::vector<Round> result;
  for (int round = 1; round < n; ++round) {
    result.emplace_back();
    for (int member = 0; member < n; ++member) {
      const int to = (member + round) % n;
      result.back().push_back(
          {.from = member, .to = to, .first_block = member * n + to, .bytes = size / n});
    }
  }
  return result;
}

}  // namespace

constinit const CollectiveAlgorithm kPairwise = {
    .name = "pairwise",
    .supports = supports,
    .phases = phases,
    .rounds = rounds,
    .source = "Thakur, Rabenseifner & Gropp 2005, Int. J. High Perform. Comput. Appl. 19(1)"};

}  // namespace windtunnel

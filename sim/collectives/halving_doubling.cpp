// Recursive halving, then doubling. n = 2^k members, S bytes, latency a, bandwidth B per member
// and direction. Each member halves what it holds with ever farther partners, then doubles it back.
// Steps: 2 log2 n. Bytes sent per member: 2 S (n-1)/n. Time alone: 2 log2(n) a + 2 S (n-1)/(n B).
// Source: Thakur, Rabenseifner & Gropp 2005, Int. J. High Perform. Comput. Appl. 19(1)
// (Rabenseifner's algorithm), with the nearest partner first, so that S/2 goes the shortest way.
// Leaves out: n that are no power of two, and the rails of a node (every member uses its own port).
#include <bit>
#include <cstddef>
#include <utility>

#include "base/check.hpp"
#include "collectives/families.hpp"

namespace windtunnel {
namespace {

bool supports(CollectiveKind kind, const Group& group) {
  return kind == CollectiveKind::AllReduce && std::has_single_bit(unsigned(group.size()));
}

// What a member holds after halving with all partners nearer than `distance`: n / distance blocks
// from here on.
int first_block(int member, int distance, int n) {
  int first = 0;
  for (int bit = 1; bit < distance; bit *= 2)
    if (member & bit) first += n / (2 * bit);
  return first;
}

std::vector<int> partner_distances(int n) {
  std::vector<int> distances;
  for (int distance = 1; distance < n; distance *= 2) distances.push_back(distance);
  for (int distance = n / 2; distance >= 1; distance /= 2) distances.push_back(distance);
  return distances;
}

std::vector<Phase> phases(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "halving-doubling does not know this collective");
  const int n = group.size();
  std::vector<Phase> result;
  for (const int distance : partner_distances(n)) {
    Phase phase{.edges = {}, .bytes_per_edge = size / (2.0 * distance), .rounds = 1};
    for (int member = 0; member < n; ++member) phase.edges.push_back({member, member ^ distance});
    result.push_back(std::move(phase));
  }
  return result;
}

std::vector<Round> rounds(CollectiveKind kind, const Group& group, Bytes size) {
  SIM_CHECK(supports(kind, group), "halving-doubling does not know this collective");
  const int n = group.size();
  const auto distances = partner_distances(n);
  std::vector<Round> result(distances.size());
  for (std::size_t step = 0; step < distances.size(); ++step) {
    const int distance = distances[step];
    const bool halving = step < distances.size() / 2;
    for (int member = 0; member < n; ++member) {
      const int partner = member ^ distance;
      // Halving gives away the partner's half; doubling sends what is complete here.
      const int owner = halving ? partner : member;
      result[step].push_back({.from = member,
                              .to = partner,
                              .first_block = first_block(owner, 2 * distance, n),
                              .blocks = n / (2 * distance),
                              .reduce = halving,
                              .bytes = size / (2.0 * distance)});
    }
  }
  return result;
}

}  // namespace

constinit const CollectiveAlgorithm kHalvingDoubling = {
    .name = "halving-doubling",
    .supports = supports,
    .phases = phases,
    .rounds = rounds,
    .source = "Thakur, Rabenseifner & Gropp 2005, Int. J. High Perform. Comput. Appl. 19(1)"};

}  // namespace windtunnel

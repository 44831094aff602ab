// Proof by data: the rounds of every algorithm, carried out on numbers, give every member what the
// collective promises; and they move the bytes that the phases and the file headers say.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "collectives/families.hpp"
#include "collectives_groups.hpp"

using namespace windtunnel;

namespace {

using Number = std::uint64_t;          // sums wrap, which keeps them exact
using Buffer = std::vector<Number>;    // by block
using Buffers = std::vector<Buffer>;   // by member
constexpr Bytes kSize{720720.0 * 64};  // divides by everything up to 16

// A number that no sum of others is likely to equal.
Number contribution(int member, int block, int channel) {
  Number x = Number(member) * 1000003 + Number(block) * 10007 + Number(channel) + 1;
  x *= 0x9E3779B97F4A7C15;  // golden ratio, as in splitmix64
  return x ^ (x >> 29);
}

int block_count(CollectiveKind kind, int n) {
  return kind == CollectiveKind::AllToAll ? n * n : n;
}

bool has_at_start(CollectiveKind kind, int member, int block, int n) {
  switch (kind) {
    case CollectiveKind::AllGather:
      return block == member;
    case CollectiveKind::AllToAll:
      return block / n == member;
    case CollectiveKind::Broadcast:
      return member == 0;
    default:
      return true;
  }
}

bool needs_at_end(CollectiveKind kind, int member, int block, int n) {
  if (kind == CollectiveKind::ReduceScatter) return block == member;
  if (kind == CollectiveKind::AllToAll) return block % n == member;
  return true;
}

Number expected(CollectiveKind kind, int block, int channel, int n) {
  if (kind == CollectiveKind::AllGather) return contribution(block, block, channel);
  if (kind == CollectiveKind::AllToAll) return contribution(block / n, block, channel);
  if (kind == CollectiveKind::Broadcast) return contribution(0, block, channel);
  Number sum = 0;
  for (int member = 0; member < n; ++member) sum += contribution(member, block, channel);
  return sum;
}

// What the members have after the rounds. All sends of a round read what was there before it.
Buffers after(const std::vector<Round>& rounds, int channel, Buffers buffers) {
  for (const Round& round : rounds) {
    const Buffers before = buffers;
    for (const Send& send : round) {
      if (send.channel != channel) continue;
      for (int block = send.first_block; block < send.first_block + send.blocks; ++block) {
        const Number value = before.at(send.from).at(block);
        Number& target = buffers.at(send.to).at(block);
        target = send.reduce ? target + value : value;
      }
    }
  }
  return buffers;
}

bool right_at_end(CollectiveKind kind, const std::vector<Round>& rounds, int channel, int n) {
  const int blocks = block_count(kind, n);
  Buffers start(n, Buffer(blocks, 0));
  for (int member = 0; member < n; ++member)
    for (int block = 0; block < blocks; ++block)
      if (has_at_start(kind, member, block, n))
        start[member][block] = contribution(member, block, channel);
  const Buffers end = after(rounds, channel, start);
  for (int member = 0; member < n; ++member)
    for (int block = 0; block < blocks; ++block)
      if (needs_at_end(kind, member, block, n) &&
          end[member][block] != expected(kind, block, channel, n))
        return false;
  return true;
}

using Traffic = std::map<std::pair<int, int>, double>;

Traffic traffic(const std::vector<Phase>& phases) {
  Traffic bytes;
  for (const Phase& phase : phases)
    for (const Edge& edge : phase.edges) bytes[{edge.from, edge.to}] += phase.bytes_per_edge.value;
  return bytes;
}
Traffic traffic(const std::vector<Round>& rounds) {
  Traffic bytes;
  for (const Round& round : rounds)
    for (const Send& send : round) bytes[{send.from, send.to}] += send.bytes.value;
  return bytes;
}

bool same(const Traffic& a, const Traffic& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && std::abs(x.second - y.second) <= 1e-9 * x.second;
  });
}

double bytes_sent(const std::vector<Phase>& phases) {
  double total = 0;
  for (const auto& [pair, bytes] : traffic(phases)) total += bytes;
  return total;
}

int channels_in(const std::vector<Round>& rounds) {
  int most = 0;
  for (const Round& round : rounds)
    for (const Send& send : round) most = std::max(most, send.channel);
  return most + 1;
}

std::string label(const CollectiveAlgorithm& algorithm, CollectiveKind kind, const Group& group) {
  return std::string(algorithm.name) + " " + std::string(name_of(kCollectiveKindNames, kind)) +
         " n=" + std::to_string(group.size()) + " nodes=" + std::to_string(group.nodes()) +
         " rails=" + std::to_string(group.rails);
}

template <class Body>
void for_every_case(Body body) {
  for (const CollectiveAlgorithm& algorithm : collective_table())
    for (const CollectiveKind kind : kAllKinds)
      for (const Group& group : small_groups()) {
        if (!algorithm.supports(kind, group)) continue;
        INFO(label(algorithm, kind, group));
        body(algorithm, kind, group);
      }
}

int steps(const std::vector<Phase>& phases) {
  int total = 0;
  for (const Phase& phase : phases) total += phase.rounds;
  return total;
}

}  // namespace

TEST_CASE("the rounds of every algorithm end with the right data") {
  int proofs = 0;
  for_every_case([&](const auto& algorithm, CollectiveKind kind, const Group& group) {
    const auto rounds = algorithm.rounds(kind, group, kSize);
    if (rounds.empty()) return;
    for (int channel = 0; channel < channels_in(rounds); ++channel)
      REQUIRE(right_at_end(kind, rounds, channel, group.size()));
    ++proofs;
  });
  REQUIRE(proofs > 500);
}

TEST_CASE("a broken round is found by the proof") {
  auto rounds = kRing.rounds(CollectiveKind::AllReduce, one_node(4), kSize);
  REQUIRE(right_at_end(CollectiveKind::AllReduce, rounds, 0, 4));
  rounds[1][2].reduce = false;
  REQUIRE_FALSE(right_at_end(CollectiveKind::AllReduce, rounds, 0, 4));
}

TEST_CASE("phases and rounds move the same bytes between each pair of members") {
  for_every_case([](const auto& algorithm, CollectiveKind kind, const Group& group) {
    const auto rounds = algorithm.rounds(kind, group, kSize);
    const auto phases = algorithm.phases(kind, group, kSize);
    if (group.size() == 1) {
      REQUIRE(phases.empty());
      REQUIRE(rounds.empty());
      return;
    }
    if (&algorithm == find_collective("nvls")) {
      REQUIRE(rounds.empty());
      return;
    }
    REQUIRE(same(traffic(phases), traffic(rounds)));
  });
}

TEST_CASE("every send is between two members and of blocks that there are") {
  for_every_case([](const auto& algorithm, CollectiveKind kind, const Group& group) {
    const int n = group.size();
    bool valid = true;
    for (const Round& round : algorithm.rounds(kind, group, kSize)) {
      valid = valid && !round.empty();
      for (const Send& send : round)
        valid = valid && send.from != send.to && send.from >= 0 && send.from < n && send.to >= 0 &&
                send.to < n && send.first_block >= 0 && send.blocks >= 1 &&
                send.first_block + send.blocks <= block_count(kind, n) && send.bytes.value > 0;
    }
    REQUIRE(valid);
  });
}

// What any algorithm on the members' own ports has to send: n-1 copies of S to gather, as much to
// reduce; n-1 parts of S/n from each member in an all-to-all.
TEST_CASE("all members together send the least bytes there are") {
  for_every_case([](const auto& algorithm, CollectiveKind kind, const Group& group) {
    if (&algorithm == find_collective("nvls") || algorithm.name == "two-level") return;
    const double copies = kind == CollectiveKind::AllReduce ? 2 : 1;
    REQUIRE(bytes_sent(algorithm.phases(kind, group, kSize)) ==
            Approx(copies * (group.size() - 1) * kSize.value).epsilon(1e-12));
  });
}

// Ring, equal nodes: 2 S (n-1)/n. Halving-doubling: 2 S (n-1)/n. Pairwise: S (n-1)/n.
TEST_CASE("each member sends the bytes of the file's header") {
  for_every_case([](const auto& algorithm, CollectiveKind kind, const Group& group) {
    const bool chain = kind == CollectiveKind::Broadcast;
    if (algorithm.name == "tree" || algorithm.name == "nvls" || chain) return;
    if (algorithm.name == "two-level") return;  // what it forwards is sent again
    const double n = group.size(), copies = kind == CollectiveKind::AllReduce ? 2 : 1;
    std::vector<double> sent(group.size(), 0);
    for (const auto& [pair, bytes] : traffic(algorithm.phases(kind, group, kSize)))
      sent[pair.first] += bytes;
    for (const double bytes : sent)
      REQUIRE(bytes == Approx(copies * kSize.value * (n - 1) / n).epsilon(1e-12));
  });
}

TEST_CASE("nvls loads every port with S (1 + 1/n)") {
  // n = 8: 1.125 S, where the ring has 1.75 S.
  for (const auto& [pair, bytes] :
       traffic(kNvls.phases(CollectiveKind::AllReduce, one_node(8), kSize)))
    REQUIRE(bytes == Approx(1.125 * kSize.value).epsilon(1e-15));
  REQUIRE(steps(kNvls.phases(CollectiveKind::AllReduce, one_node(8), kSize)) == 2);
  REQUIRE_FALSE(kNvls.supports(CollectiveKind::AllReduce, equal_nodes(2, 8)));
}

TEST_CASE("a two-level exchange sends S (N-1)/N between nodes and S (L-1)/L inside") {
  for (const int nodes : {1, 2, 3, 5})
    for (const int places : {1, 2, 4}) {
      const Group group = equal_nodes(nodes, places);
      std::map<int, double> between, inside;
      for (const auto& [pair, bytes] :
           traffic(kTwoLevel.phases(CollectiveKind::AllToAll, group, kSize))) {
        const bool same_node = pair.first / places == pair.second / places;
        // Over rails: a place sends to its like.
        REQUIRE((same_node || pair.first % places == pair.second % places));
        (same_node ? inside : between)[pair.first] += bytes;
      }
      for (int member = 0; member < group.size(); ++member) {
        REQUIRE(between[member] == Approx(kSize.value * (nodes - 1) / nodes).epsilon(1e-12));
        REQUIRE(inside[member] == Approx(kSize.value * (places - 1) / places).epsilon(1e-12));
      }
    }
  REQUIRE_FALSE(kTwoLevel.supports(CollectiveKind::AllToAll, group_of({3, 4})));
  REQUIRE_FALSE(kTwoLevel.supports(CollectiveKind::AllReduce, equal_nodes(2, 4)));
}

TEST_CASE("rounds are as many as the phases' steps, and the pipelined ones have the fill on top") {
  for_every_case([](const auto& algorithm, CollectiveKind kind, const Group& group) {
    if (group.size() == 1 || algorithm.name == "nvls") return;
    const bool chain = algorithm.name == "ring" && kind == CollectiveKind::Broadcast;
    const bool pipelined = algorithm.name == "tree" || chain;
    const int fill = pipelined ? group.size() - 1 : 0;
    REQUIRE(int(algorithm.rounds(kind, group, kSize).size()) ==
            steps(algorithm.phases(kind, group, kSize)) + fill);
  });
}

TEST_CASE("steps are those of the file's header") {
  for (int n = 2; n <= 16; ++n) {
    const Group group = one_node(n);
    REQUIRE(steps(kRing.phases(CollectiveKind::AllReduce, group, kSize)) == 2 * (n - 1));
    REQUIRE(steps(kRing.phases(CollectiveKind::AllGather, group, kSize)) == n - 1);
    REQUIRE(steps(kRing.phases(CollectiveKind::ReduceScatter, group, kSize)) == n - 1);
    REQUIRE(steps(kRing.phases(CollectiveKind::Broadcast, group, kSize)) == n - 1);
    REQUIRE(steps(kPairwise.phases(CollectiveKind::AllToAll, group, kSize)) == n - 1);
  }
  for (int log_n = 1; log_n <= 4; ++log_n) {
    const Group group = one_node(1 << log_n);
    REQUIRE(steps(kHalvingDoubling.phases(CollectiveKind::AllReduce, group, kSize)) == 2 * log_n);
  }
  // 2(g-1) + 2(k-1) with g = 4 members on each of k = 3 nodes; half for one of the passes.
  const Group group = equal_nodes(3, 4);
  REQUIRE(steps(kHierarchical.phases(CollectiveKind::AllReduce, group, kSize)) == 10);
  REQUIRE(steps(kHierarchical.phases(CollectiveKind::AllGather, group, kSize)) == 5);
}

TEST_CASE("every pairwise round is a permutation") {
  for (int n = 2; n <= 17; ++n)
    for (const Round& round : kPairwise.rounds(CollectiveKind::AllToAll, one_node(n), kSize)) {
      std::vector<int> sends(n, 0), receives(n, 0);
      for (const Send& send : round) ++sends[send.from], ++receives[send.to];
      REQUIRE(sends == std::vector<int>(n, 1));
      REQUIRE(receives == std::vector<int>(n, 1));
    }
}

TEST_CASE("which algorithm knows which collective") {
  const Group eight = one_node(8), twelve = equal_nodes(3, 4), uneven = group_of({3, 4});
  REQUIRE(kHalvingDoubling.supports(CollectiveKind::AllReduce, eight));
  REQUIRE_FALSE(kHalvingDoubling.supports(CollectiveKind::AllReduce, twelve));
  REQUIRE(kHierarchical.supports(CollectiveKind::AllReduce, twelve));
  REQUIRE_FALSE(kHierarchical.supports(CollectiveKind::AllReduce, eight));
  REQUIRE_FALSE(kHierarchical.supports(CollectiveKind::AllReduce, uneven));
  REQUIRE_FALSE(kHierarchical.supports(CollectiveKind::AllReduce, equal_nodes(4, 1)));
  REQUIRE_FALSE(kRing.supports(CollectiveKind::AllToAll, eight));
  REQUIRE_FALSE(kTree.supports(CollectiveKind::AllGather, eight));
  REQUIRE_FALSE(kPairwise.supports(CollectiveKind::AllReduce, eight));
  for (const CollectiveKind kind : kAllKinds) {
    const auto table = collective_table();
    REQUIRE(std::any_of(table.begin(), table.end(),
                        [&](const auto& row) { return row.supports(kind, uneven); }));
  }
  REQUIRE(find_collective("ring")->name == "ring");
  REQUIRE(find_collective("rings") == nullptr);
}

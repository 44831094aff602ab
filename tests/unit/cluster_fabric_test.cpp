// Each fabric's own arithmetic, by hand.
#include <fmt/format.h>

#include <map>

#include "catch.hpp"
#include "cluster_examples.hpp"

using namespace windtunnel;

namespace {

using Values = std::initializer_list<std::pair<const char*, double>>;

ClusterSpec spec_of(std::string_view fabric, int nodes, int nics, Values values) {
  ClusterSpec spec = example_cluster(fabric, nodes, example_node("nvlink_switch", nics, nics));
  for (const auto& [name, value] : values) spec.fabric_parameters.set(name, value);
  return spec;
}

Rate sum_of(const Cluster& cluster, const std::string& prefix) {
  Rate sum;
  for (const Link& link : cluster.links)
    if (link.name.rfind(prefix, 0) == 0) sum += link.bandwidth;
  return sum;
}

// The most flows on one link when every NIC sends to the same NIC of the node `shift` further.
int most_shared(const Cluster& cluster, int nics, int shift) {
  const int gpus = int(cluster.gpus.size());
  std::map<int, int> flows;
  int most = 0;
  for (int gpu = 0; gpu < gpus; ++gpu)
    for (const int link : cluster.route(gpu, (gpu + shift * nics) % gpus).links)
      most = std::max(most, ++flows[link]);
  return most;
}

}  // namespace

TEST_CASE("oversubscription divides what leaves a leaf") {
  // A leaf has 4 nodes x 2 NICs x 25 GB/s x 0.8 = 160 GB/s below it.
  for (const auto& [oversubscription, cables] :
       {std::pair{1.0, 8}, {2.0, 4}, {7.0, 2}, {16.0, 1}, {0.5, 16}}) {
    const Cluster cluster = build_cluster(spec_of(
        "fat_tree", 16, 2,
        {{"nodes_per_leaf", 4}, {"efficiency", 0.8}, {"oversubscription", oversubscription}}));
    for (const char* direction : {"up", "down"})
      for (int leaf = 0; leaf < 4; ++leaf)
        CHECK(sum_of(cluster, fmt::format("leaf{}.{}", leaf, direction)).value ==
              Approx(160e9 / oversubscription));
    const auto links = 16 * 2 * 2 + 16 * 2 * 2 + 4 * cables * 2;  // GPU ports, NIC ports, cables
    CHECK(int(cluster.links.size()) == links);
  }
}

TEST_CASE("core oversubscription divides what leaves a pod") {
  // A pod has 2 leaves of 2 nodes x 1 NIC x 25 GB/s = 100 GB/s; the core takes a fifth of it.
  const Cluster cluster = build_cluster(spec_of(
      "fat_tree", 16, 1,
      {{"levels", 3}, {"nodes_per_leaf", 2}, {"leaves_per_pod", 2}, {"core_oversubscription", 5}}));
  CHECK((sum_of(cluster, "spine0.up") + sum_of(cluster, "spine1.up")).value == Approx(20e9));
  CHECK(sum_of(cluster, "leaf0.up").value == Approx(50e9));
}

TEST_CASE("switches on the way: 1 in a leaf, 3 in a pod, 5 over the core") {
  const Cluster cluster = build_cluster(spec_of("fat_tree", 16, 1,
                                                {{"levels", 3},
                                                 {"nodes_per_leaf", 2},
                                                 {"leaves_per_pod", 2},
                                                 {"latency", 10e-6},
                                                 {"hop_latency", 1e-6}}));
  CHECK(names(cluster, cluster.route(0, 1)) ==
        std::vector<std::string>{"n0.nic0.up", "n1.nic0.down"});
  CHECK(cluster.route(0, 1).latency.value == Approx(11e-6));
  // Node 3 is port 1 of leaf 1: number 3, spine 3 mod 2.
  CHECK(names(cluster, cluster.route(0, 3)) ==
        std::vector<std::string>{"n0.nic0.up", "leaf0.up1", "leaf1.down1", "n3.nic0.down"});
  CHECK(cluster.route(0, 3).latency.value == Approx(13e-6));
  // Node 14 is port 0 of leaf 7, in pod 3: number 14, spine 0 of its pod, core cable 7 mod 2.
  CHECK(names(cluster, cluster.route(0, 14)) ==
        std::vector<std::string>{"n0.nic0.up", "leaf0.up0", "spine0.up1", "spine6.down1",
                                 "leaf7.down0", "n14.nic0.down"});
  CHECK(cluster.route(0, 14).latency.value == Approx(15e-6));
}

TEST_CASE("shift permutations meet no contention in a full tree") {
  for (const double rails : {0.0, 1.0})
    for (const double levels : {2.0, 3.0}) {
      ClusterSpec spec =
          spec_of("fat_tree", 24, 2, {{"levels", levels}, {"nodes_per_leaf", 3}, {"rails", rails}});
      if (levels == 3) spec.fabric_parameters.set("leaves_per_pod", rails == 1 ? 4 : 2);
      const Cluster cluster = build_cluster(spec);
      for (int shift = 1; shift < 24; ++shift) {
        INFO("rails " << rails << ", levels " << levels << ", shift " << shift);
        CHECK(most_shared(cluster, 2, shift) == 1);
      }
    }
}

TEST_CASE("half the cables are shared by two") {
  const Cluster cluster =
      build_cluster(spec_of("fat_tree", 16, 1, {{"nodes_per_leaf", 4}, {"oversubscription", 2}}));
  CHECK(most_shared(cluster, 1, 4) == 2);
}

TEST_CASE("rails stay on their leaf") {
  const Cluster cluster =
      build_cluster(spec_of("fat_tree", 8, 4, {{"nodes_per_leaf", 4}, {"rails", 1}}));
  for (int rail = 0; rail < 4; ++rail) {
    // Nodes 0 to 3 meet on leaf `rail`, nodes 4 to 7 on leaf 4 + rail.
    CHECK(names(cluster, cluster.route(rail, 4 + rail)) ==
          std::vector<std::string>{fmt::format("n0.nic{}.up", rail),
                                   fmt::format("n1.nic{}.down", rail)});
    const std::vector<std::string> way = names(cluster, cluster.route(rail, 20 + rail));
    REQUIRE(way.size() == 4);
    CHECK(way[1] == fmt::format("leaf{}.up1", rail));  // node 5 is port 1 of its leaves
    CHECK(way[2] == fmt::format("leaf{}.down1", 4 + rail));
  }
  // Between rails even neighbours need a spine: NCCL prefers NVLink to the right rail.
  CHECK(cluster.route(0, 5).links.size() == 4);
}

TEST_CASE("fat trees that cannot be are refused") {
  const auto error = [](Values values) { return fabric_error(spec_of("fat_tree", 16, 2, values)); };
  CHECK(error({}).empty());
  CHECK(error({{"levels", 1}}) == "A fat tree has 2 or 3 levels; one level is the family star.");
  CHECK(error({{"levels", 3}}) == "A fat tree of 3 levels needs leaves_per_pod.");
  CHECK(error({{"leaves_per_pod", 2}}) ==
        "A fat tree of 2 levels has no pods: leave out leaves_per_pod.");
  CHECK(error({{"core_oversubscription", 2}}) ==
        "A fat tree of 2 levels has no core: leave out core_oversubscription.");
  CHECK(error({{"levels", 3}, {"rails", 1}, {"leaves_per_pod", 3}}) ==
        "With rails a group of nodes has 2 leaves, and leaves_per_pod (3) must be a multiple of "
        "that.");
  CHECK(error({{"nodes_per_leaf", 1e9}}) ==
        "A leaf of this fat tree would have 2000000000 ports; at most 1000000 are built.");
  CHECK(error({{"nodes_per_leaf", 100000}, {"oversubscription", 0.01}}) ==
        "This fat tree would have 40000000 links between switches; at most 10000000 are built.");
  CHECK(error({{"oversubscription", 1e-9}}) ==
        "The oversubscription is 1e-09; it must lie between 0.01 and 1000.");
}

TEST_CASE("a torus takes the shorter way in each dimension, x first") {
  ClusterSpec spec = spec_of("torus", 12, 1, {{"latency", 10e-6}, {"hop_latency", 1e-6}});
  spec.fabric_parameters.set("dims", std::vector<double>{4, 3});
  const Cluster cluster = build_cluster(spec);
  // (0,0) to (3,2) is one step back in x, to node 3, and one step back in y.
  CHECK(names(cluster, cluster.route(0, 11)) ==
        std::vector<std::string>{"n0.nic0.up", "n0.x-", "n3.y-", "n11.nic0.down"});
  CHECK(cluster.route(0, 11).latency.value == Approx(12e-6));
  // (1,0) to (3,1): two steps either way in x, so forward; then one in y.
  CHECK(names(cluster, cluster.route(1, 7)) ==
        std::vector<std::string>{"n1.nic0.up", "n1.x+", "n2.x+", "n3.y+", "n7.nic0.down"});
  CHECK(cluster.links.size() == 12 * 2 + 12 * 2 + 12 * 4);
  CHECK(bandwidth_of(cluster, "n5.y-").value == 25e9);  // the NIC's, as none is stated
}

TEST_CASE("hops in a torus of 4 x 4 x 4") {
  ClusterSpec spec = spec_of("torus", 64, 1, {{"bandwidth", 50e9}});
  spec.fabric_parameters.set("dims", std::vector<double>{4, 4, 4});
  const Cluster cluster = build_cluster(spec);
  std::map<int, int> count;  // of nodes by hops from node 0
  for (int node = 1; node < 64; ++node) ++count[int(cluster.route(0, node).links.size()) - 2];
  // A ring of 4 has distances 0, 1, 1, 2: (1 + 2 h + h^2)^3.
  CHECK(count == std::map<int, int>{{1, 6}, {2, 15}, {3, 20}, {4, 15}, {5, 6}, {6, 1}});
  CHECK(bandwidth_of(cluster, "n63.z+").value == 50e9);
}

TEST_CASE("tori that cannot be are refused") {
  ClusterSpec spec = spec_of("torus", 17, 1, {});
  const auto error = [&](std::vector<double> dims) {
    spec.fabric_parameters.set("dims", std::move(dims));
    return fabric_error(spec);
  };
  CHECK(error({4, 4}) == "This torus has 16 places and the cluster 17 nodes; they must be equal.");
  CHECK(error({17}) == "A torus has 2 or 3 dims.");
  CHECK(error({17, 1}) == "Every dimension of a torus has at least 2 nodes.");
}

TEST_CASE("a dragonfly takes at most one local, one global and one local hop") {
  const Cluster cluster = build_cluster(spec_of("dragonfly", 72, 1,
                                                {{"groups", 9},
                                                 {"routers_per_group", 4},
                                                 {"nodes_per_router", 2},
                                                 {"global_cables_per_router", 2},
                                                 {"latency", 10e-6},
                                                 {"hop_latency", 1e-6}}));
  const auto way = [&](int from, int to) { return names(cluster, cluster.route(from, to)); };
  CHECK(way(0, 1) == std::vector<std::string>{"n0.nic0.up", "n1.nic0.down"});
  CHECK(way(0, 2) == std::vector<std::string>{"n0.nic0.up", "group0.router0.to1", "n2.nic0.down"});
  // Cable 0 of group 0, on its router 0, is cable 7 of group 1, on its router 3.
  CHECK(way(0, 14) == std::vector<std::string>{"n0.nic0.up", "group0.global0", "n14.nic0.down"});
  CHECK(way(14, 0) == std::vector<std::string>{"n14.nic0.up", "group1.global7", "n0.nic0.down"});
  CHECK(way(2, 8) == std::vector<std::string>{"n2.nic0.up", "group0.router1.to0", "group0.global0",
                                              "group1.router3.to0", "n8.nic0.down"});
  CHECK(cluster.route(0, 1).latency.value == Approx(11e-6));   // 1 router
  CHECK(cluster.route(0, 14).latency.value == Approx(12e-6));  // 2
  CHECK(cluster.route(2, 8).latency.value == Approx(14e-6));   // 4
  // Of 70 nodes on other routers, 6 are in the group. Group 0 reaches each other group by one
  // cable; two of the eight start at router 0, and of the 8 nodes there, 2 sit at the arrival
  // router.
  std::map<std::size_t, int> count;
  for (int node = 1; node < 72; ++node) ++count[way(0, node).size() - 2];
  CHECK(count ==
        std::map<std::size_t, int>{{0, 1}, {1, 6 + 2 * 2}, {2, 2 * 6 + 6 * 2}, {3, 6 * 6}});
}

TEST_CASE("each two groups of a dragonfly have their own cables") {
  const Cluster cluster = build_cluster(spec_of("dragonfly", 24, 1,
                                                {{"groups", 3},
                                                 {"routers_per_group", 4},
                                                 {"nodes_per_router", 2},
                                                 {"global_cables_per_router", 1}}));
  // 4 cables a group, 2 other groups: 2 cables between each pair.
  std::map<std::string, std::set<std::pair<int, int>>> pairs;
  for (int from = 0; from < 24; ++from)
    for (int to = 0; to < 24; ++to)
      if (from / 8 != to / 8)
        for (const std::string& link : names(cluster, cluster.route(from, to)))
          if (link.find("global") != std::string::npos) pairs[link].insert({from / 8, to / 8});
  CHECK(pairs.size() == 3 * 4);
  for (const auto& [link, groups] : pairs) CHECK(groups.size() == 1);
}

TEST_CASE("dragonflies that cannot be are refused") {
  const auto error = [](int nodes, Values values) {
    return fabric_error(spec_of("dragonfly", nodes, 1, values));
  };
  CHECK(error(8, {}).empty());
  CHECK(error(9, {}) == "This dragonfly has 8 places and the cluster 9 nodes.");
  CHECK(error(8, {{"groups", 6}}) == "A group has 4 global cables and 5 other groups to reach.");
  CHECK(error(8, {{"routers_per_group", 1e5}}) ==
        "This dragonfly would have more than 10000000 links.");
}

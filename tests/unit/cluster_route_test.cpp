// What holds for the routes of every family of both tables.
#include <fmt/format.h>

#include <algorithm>

#include "catch.hpp"
#include "cluster_examples.hpp"

using namespace windtunnel;

namespace {

bool starts_with_node(const std::string& link, int node) {
  return link.rfind(fmt::format("n{}.", node), 0) == 0;
}

void check_way(const Cluster& cluster, int from, int to, const Route& route) {
  const GpuPlace &source = cluster.gpus[std::size_t(from)], &target = cluster.gpus[std::size_t(to)];
  for (const int link : route.links) {
    REQUIRE(link >= 0);
    REQUIRE(link < int(cluster.links.size()));
    REQUIRE(cluster.links[std::size_t(link)].bandwidth.value > 0);
  }
  REQUIRE(route.links.size() >= 2);
  REQUIRE(std::set<int>(route.links.begin(), route.links.end()).size() == route.links.size());
  REQUIRE(route.latency.value > 0);
  const std::vector<std::string> way = names(cluster, route);
  if (source.node == target.node) {
    REQUIRE(way.front() == fmt::format("n{}.gpu{}.up", source.node, source.local));
    REQUIRE(way.back() == fmt::format("n{}.gpu{}.down", target.node, target.local));
    return;
  }
  REQUIRE(starts_with_node(way.front(), source.node));
  REQUIRE(starts_with_node(way.back(), target.node));
  const auto count = [&](int node, const char* direction) {
    return std::count_if(way.begin(), way.end(), [&](const std::string& link) {
      return starts_with_node(link, node) && link.find(".nic") != std::string::npos &&
             link.ends_with(direction);
    });
  };
  REQUIRE(count(source.node, ".up") == 1);
  REQUIRE(count(target.node, ".down") == 1);
}

// Every pair of GPUs, by their own NICs and by each rail.
void check_routes(const Cluster& cluster, int rails) {
  const int gpus = int(cluster.gpus.size());
  for (int from = 0; from < gpus; ++from)
    for (int to = 0; to < gpus; ++to)
      for (int rail = -1; rail < rails && from != to; ++rail) {
        const Route there = cluster.route(from, to, rail), back = cluster.route(to, from, rail);
        check_way(cluster, from, to, there);
        for (const int link : there.links)
          REQUIRE(std::count(back.links.begin(), back.links.end(), link) == 0);
      }
}

}  // namespace

TEST_CASE("routes of every interconnect over every fabric") {
  for (const NodeInterconnect& interconnect : node_interconnects())
    for (const Fabric& fabric : fabrics())
      for (const auto& [gpus, nics] : {std::pair{4, 2}, {4, 4}, {2, 4}, {3, 1}, {1, 1}}) {
        INFO(interconnect.name << " over " << fabric.name << ", " << gpus << " GPUs, " << nics
                               << " NICs");
        const ClusterSpec spec =
            example_cluster(fabric.name, 6, example_node(interconnect.name, gpus, nics));
        REQUIRE(fabric_error(spec).empty());
        const Cluster cluster = build_cluster(spec);
        CHECK(cluster.node_count() == 6);
        CHECK(int(cluster.gpus.size()) == 6 * gpus);
        check_routes(cluster, nics);
      }
}

TEST_CASE("link names are unique") {
  for (const NodeInterconnect& interconnect : node_interconnects())
    for (const Fabric& fabric : fabrics()) {
      const Cluster cluster =
          build_cluster(example_cluster(fabric.name, 6, example_node(interconnect.name)));
      std::set<std::string> seen;
      for (const Link& link : cluster.links) CHECK(seen.insert(link.name).second);
    }
}

TEST_CASE("a part of a cluster is the first part of the whole") {
  for (const Fabric& fabric : fabrics()) {
    INFO(fabric.name);
    const ClusterSpec spec = example_cluster(fabric.name, 6, example_node("nvlink_switch"));
    const Cluster whole = build_cluster(spec), part = build_cluster(spec, 9);
    CHECK(part.node_count() == 3);  // nine GPUs need three nodes of four
    REQUIRE(part.gpus.size() == 12);
    CHECK(part.links.size() < whole.links.size());
    for (const Link& link : part.links) CHECK(bandwidth_of(whole, link.name) == link.bandwidth);
    for (int from = 0; from < 12; ++from)
      for (int to = 0; to < 12; ++to)
        for (int rail = -1; rail < 2 && from != to; ++rail) {
          const Route a = whole.route(from, to, rail), b = part.route(from, to, rail);
          REQUIRE(names(whole, a) == names(part, b));
          REQUIRE(a.latency == b.latency);
        }
  }
}

TEST_CASE("every family declares a source and refuses an efficiency above 1") {
  for (const NodeInterconnect& interconnect : node_interconnects()) {
    NodeType node = example_node(interconnect.name);
    CHECK_FALSE(interconnect.source.empty());
    CHECK(interconnect.limits(node.interconnect_parameters, node).empty());
    node.interconnect_parameters.set("efficiency", 1.5);
    CHECK(interconnect.limits(node.interconnect_parameters, node) ==
          "An efficiency of 1.5 would make links faster than their datasheet says.");
  }
  for (const Fabric& fabric : fabrics()) {
    ClusterSpec spec = example_cluster(fabric.name, 6, example_node("nvlink_switch"));
    CHECK_FALSE(fabric.source.empty());
    spec.node_types[0].nics = 0;
    CHECK(fabric_error(spec) == "Node type 'example' has no NIC, so no fabric can reach its GPUs.");
    spec.fabric_parameters.set("efficiency", 1.5);
    CHECK_FALSE(fabric_error(spec).empty());
  }
}

TEST_CASE("a link gets its datasheet rate times the efficiency") {
  NodeType node = example_node("nvlink_switch");
  node.interconnect_parameters.set("efficiency", 0.8);
  ClusterSpec spec = example_cluster("star", 2, node);
  spec.fabric_parameters.set("efficiency", 0.9);
  const Cluster cluster = build_cluster(spec);
  CHECK(bandwidth_of(cluster, "n1.gpu3.down").value == Approx(80e9));
  CHECK(bandwidth_of(cluster, "n1.nic1.up").value == Approx(22.5e9));
}

TEST_CASE("GPUs are spread over the NICs in order") {
  const auto nics = [](int gpus, int count) {
    const Cluster cluster =
        build_cluster(example_cluster("star", 2, example_node("nvlink_switch", gpus, count)));
    std::vector<int> result;
    for (int gpu = 0; gpu < gpus; ++gpu) result.push_back(cluster.nic_of(gpu));
    return result;
  };
  CHECK(nics(8, 8) == std::vector{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(nics(8, 4) == std::vector{0, 0, 1, 1, 2, 2, 3, 3});
  CHECK(nics(2, 4) == std::vector{0, 2});
  CHECK(nics(3, 1) == std::vector{0, 0, 0});
}

TEST_CASE("another GPU's rail is reached by NVLink first") {
  const Cluster cluster =
      build_cluster(example_cluster("star", 2, example_node("nvlink_switch", 4, 4)));
  // GPU 1 of node 0 to GPU 2 of node 1.
  CHECK(names(cluster, cluster.route(1, 6)) ==
        std::vector<std::string>{"n0.nic1.up", "n1.nic2.down"});
  CHECK(names(cluster, cluster.route(1, 6, 2)) ==
        std::vector<std::string>{"n0.gpu1.up", "n0.gpu2.down", "n0.nic2.up", "n1.nic2.down"});
  CHECK(names(cluster, cluster.route(1, 6, 3)) ==
        std::vector<std::string>{"n0.gpu1.up", "n0.gpu3.down", "n0.nic3.up", "n1.nic3.down",
                                 "n1.gpu3.up", "n1.gpu2.down"});
  CHECK(cluster.route(1, 6).latency.value == Approx(1e-6));
  CHECK(cluster.route(1, 6, 3).latency.value == Approx(3e-6));
}

TEST_CASE("a PCIe box: within a switch, over the socket, between sockets") {
  NodeType node = example_node("pcie_tree", 8, 4);  // two GPUs a switch, two switches a socket
  node.interconnect_parameters.set("socket_bandwidth", 20e9);
  const Cluster cluster = build_cluster(example_cluster("star", 2, node));
  CHECK(names(cluster, cluster.route(0, 1)) ==
        std::vector<std::string>{"n0.gpu0.up", "n0.gpu1.down"});
  CHECK(names(cluster, cluster.route(1, 2)) ==
        std::vector<std::string>{"n0.gpu1.up", "n0.pcie0.up", "n0.pcie1.down", "n0.gpu2.down"});
  CHECK(names(cluster, cluster.route(2, 7)) ==
        std::vector<std::string>{"n0.gpu2.up", "n0.pcie1.up", "n0.socket0.up", "n0.socket1.down",
                                 "n0.pcie3.down", "n0.gpu7.down"});
  // GPU 5 and NIC 2 share switch 2; NIC 0 is on switch 0 of the other socket.
  CHECK(names(cluster, cluster.route(5, 13)) ==
        std::vector<std::string>{"n0.gpu5.up", "n0.nic2.up", "n1.nic2.down", "n1.gpu5.down"});
  CHECK(names(cluster, cluster.route(5, 8, 0)) ==
        std::vector<std::string>{"n0.gpu5.up", "n0.pcie2.up", "n0.socket1.up", "n0.socket0.down",
                                 "n0.pcie0.down", "n0.nic0.up", "n1.nic0.down", "n1.gpu0.down"});
  CHECK(bandwidth_of(cluster, "n0.socket1.up").value == 20e9);
}

TEST_CASE("one node needs no fabric") {
  ClusterSpec spec = example_cluster("star", 1, example_node("nvlink_switch", 8, 0));
  spec.fabric.clear();
  const Cluster cluster = build_cluster(spec);
  CHECK(cluster.links.size() == 16);
  check_routes(cluster, 0);
}

TEST_CASE("node types mix") {
  ClusterSpec spec = example_cluster("fat_tree", 4, example_node("nvlink_switch", 4, 4));
  spec.node_types.push_back(example_node("pcie_tree", 2, 1));
  spec.node_types[1].nic_bandwidth = Rate(10e9);
  spec.type_of_node = {0, 1, 1, 0};
  for (const double rails : {0.0, 1.0}) {
    spec.fabric_parameters.set("rails", rails);
    const Cluster cluster = build_cluster(spec);
    CHECK(cluster.gpus.size() == 12);
    CHECK(cluster.gpus[4].node == 1);
    CHECK(cluster.gpus[5].local == 1);
    CHECK(cluster.gpu_spec(5).name == "perfect A100");
    CHECK(bandwidth_of(cluster, "n1.nic0.up").value == 10e9);
    check_routes(cluster, 1);
  }
}

TEST_CASE("overrides slow one GPU and one link") {
  ClusterSpec spec = example_cluster("star", 3, example_node("nvlink_switch"));
  spec.gpu_overrides = {{.node = 1, .gpu = 2, .slowdown = 1.25},
                        {.node = 2, .gpu = 0, .slowdown = 2}};
  spec.link_overrides = {{.link = "n1.nic1.up", .bandwidth_factor = 0.5},
                         {.link = "n2.nic0.up", .bandwidth_factor = 0.1}};
  CHECK(link_override_error(spec).empty());
  const Cluster whole = build_cluster(spec), part = build_cluster(spec, 8);
  CHECK(whole.gpus[6].slowdown == 1.25);
  CHECK(whole.gpus[8].slowdown == 2);
  CHECK(whole.gpus[7].slowdown == 1);
  CHECK(bandwidth_of(whole, "n1.nic1.up").value == 12.5e9);
  CHECK(bandwidth_of(whole, "n1.nic1.down").value == 25e9);
  CHECK(part.gpus[6].slowdown == 1.25);
  CHECK(bandwidth_of(part, "n1.nic1.up").value == 12.5e9);

  spec.link_overrides.push_back({.link = "n3.nic0.up", .bandwidth_factor = 0.5});
  CHECK(link_override_error(spec) ==
        "This cluster has no link 'n3.nic0.up'. Its links run from 'n0.gpu0.up' to 'n2.nic1.down'; "
        "topologies/README.md explains the names.");
}

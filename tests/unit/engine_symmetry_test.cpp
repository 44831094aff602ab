// Folding: which ranks share a class, and that the classes are fine enough. What folding does to
// times is in tests/fidelity_test.cpp.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "cluster_examples.hpp"
#include "engine/fold.hpp"
#include "jobs.hpp"

namespace windtunnel {

namespace {

// 4 layers of one parameter matrix each, so that data-parallel ranks reduce gradients.
Plan plan_of(const Parallelism& parallel) {
  Job job =
      job_of(synthetic(4, {.message = 1e6, .activation = 1e6, .parameters = {1e6}}), parallel, 4);
  return build_plan(job);
}

// 2 GPUs and 2 NICs to a node on one switch.
ClusterSpec star_of(int nodes) {
  return example_cluster("star", nodes, example_node("nvlink_switch", 2, 2));
}

Partition fold_all(const Plan& plan, const Cluster& cluster, const Communicators& communicators,
                   const std::vector<double>& slowdown) {
  return fold(plan, cluster, communicators, slowdown,
              std::vector<bool>(communicators.all.size(), true));
}

Partition fold_of(const Plan& plan, const ClusterSpec& spec,
                  const std::map<int, double>& slowdowns = {}) {
  const Cluster cluster = build_cluster(spec);
  std::vector<double> slowdown(std::size_t(plan.grid.size()), 1);
  for (const auto& [rank, times] : slowdowns) slowdown[std::size_t(rank)] = times;
  return fold_all(plan, cluster, Communicators(plan, cluster, {}), slowdown);
}

// The classes as sets of ranks.
std::set<std::set<int>> classes(const Partition& partition) {
  std::map<int, std::set<int>> of;
  for (int rank = 0; rank < int(partition.rank_class.size()); ++rank)
    of[partition.rank_class[std::size_t(rank)]].insert(rank);
  std::set<std::set<int>> result;
  for (const auto& [number, ranks] : of) result.insert(ranks);
  return result;
}
using Classes = std::set<std::set<int>>;

}  // namespace

TEST_CASE("symmetry: silent communicators separate nothing") {
  // Two pairs of gradients' groups, one of them over a slow port.
  const Plan plan = plan_of({.data = 2, .tensor = 2});
  ClusterSpec spec = star_of(2);
  spec.link_overrides = {{.link = "n0.nic1.up", .bandwidth_factor = 0.5}};
  REQUIRE(fabric_error(spec).empty());
  const Cluster cluster = build_cluster(spec);
  const MeasuredTimes nothing;
  const Communicators communicators(plan, cluster, nothing);
  CHECK(fold_all(plan, cluster, communicators, {1, 1, 1, 1}).rank_classes > 1);
  const std::vector<bool> none(communicators.all.size(), false);
  CHECK(fold(plan, cluster, communicators, {1, 1, 1, 1}, none).rank_classes == 1);
  CHECK(fold(plan, cluster, communicators, {1, 2, 1, 1}, none).rank_classes == 2);
}

TEST_CASE("symmetry: a homogeneous 3D job has one class for each pipeline coordinate") {
  for (const int tensor : {1, 2})
    for (const int data : {2, 4})
      for (const int pipeline : {1, 2, 4}) {
        INFO("tensor " << tensor << ", data " << data << ", pipeline " << pipeline);
        const Plan plan = plan_of({.data = data, .tensor = tensor, .pipeline = pipeline});
        const Partition partition = fold_of(plan, star_of(tensor * data * pipeline / 2));
        CHECK(partition.rank_classes == pipeline);
        for (int rank = 0; rank < plan.grid.size(); ++rank)
          CHECK(partition.rank_class[std::size_t(rank)] == plan.grid.coordinates(rank).pipeline);
      }
}

TEST_CASE("symmetry: a straggler splits its own groups and no more") {
  // Tensor 1 x data 4 x pipeline 2: ranks 0-3 are stage 0, 4-7 stage 1; rank r talks to r + 4, and
  // both ranks of a node have a NIC of their own. Rank 1 is slow: it and its partner 5 stand alone;
  // 0, 2, 3 wait for it in the same way.
  const Plan plan = plan_of({.data = 4, .pipeline = 2});
  CHECK(classes(fold_of(plan, star_of(4), {{1, 1.5}})) == Classes{{1}, {0, 2, 3}, {5}, {4, 6, 7}});
  // Two equal stragglers share a class, two unequal ones do not.
  CHECK(classes(fold_of(plan, star_of(4), {{1, 1.5}, {2, 1.5}})) ==
        Classes{{1, 2}, {0, 3}, {5, 6}, {4, 7}});
  CHECK(classes(fold_of(plan, star_of(4), {{1, 1.5}, {2, 1.25}})) ==
        Classes{{1}, {2}, {0, 3}, {5}, {6}, {4, 7}});
}

TEST_CASE("symmetry: two pipelines that only one straggler tells apart") {
  // Without parameters data-parallel ranks have nothing to do with each other: rank 1 and its
  // partner 3 stand alone, 0 and 2 are as without a straggler.
  Job job = job_of(synthetic(4, {.message = 1e6}), {.data = 2, .pipeline = 2}, 4);
  CHECK(classes(fold_of(build_plan(job), star_of(2), {{1, 1.5}})) == Classes{{0}, {1}, {2}, {3}});
  CHECK(fold_of(build_plan(job), star_of(2)).rank_classes == 2);
}

TEST_CASE("symmetry: another GPU type splits") {
  // Nodes 0 and 1 of one type, 2 and 3 of another: data 8 on them.
  ClusterSpec spec = star_of(4);
  spec.node_types.push_back(spec.node_types.front());
  spec.node_types[1].gpu.memory_bandwidth = Rate(4000e9);
  spec.type_of_node = {0, 0, 1, 1};
  CHECK(classes(fold_of(plan_of({.data = 8}), spec)) == Classes{{0, 1, 2, 3}, {4, 5, 6, 7}});
}

TEST_CASE("symmetry: a degraded link splits those who use it") {
  // Data 8 on 4 nodes: two rings, one over NIC 0 and one over NIC 1 of every node, belong to the
  // one communicator, so all ranks stay alike. With data 4 x pipeline 2 the messages of rank 0 use
  // NIC 0 of node 0: rank 0 and its partner 4 are told apart.
  ClusterSpec spec = star_of(4);
  spec.link_overrides = {{.link = "n0.nic0.up", .bandwidth_factor = 0.5}};
  CHECK(classes(fold_of(plan_of({.data = 8}), spec)) == Classes{{0, 1, 2, 3, 4, 5, 6, 7}});
  CHECK(classes(fold_of(plan_of({.data = 4, .pipeline = 2}), spec)) ==
        Classes{{0}, {1, 2, 3}, {4}, {5, 6, 7}});
  // Links: the degraded one shares its class with no other.
  const Cluster cluster = build_cluster(spec);
  const Partition partition = fold_of(plan_of({.data = 8}), spec);
  for (int link = 0; link < int(cluster.links.size()); ++link) {
    if (cluster.links[std::size_t(link)].name != "n0.nic0.up") continue;
    const int own = partition.link_class[std::size_t(link)];
    CHECK(std::count(partition.link_class.begin(), partition.link_class.end(), own) == 1);
  }
}

TEST_CASE("symmetry: a placement over uneven leaves splits") {
  // 6 nodes of one GPU, 4 to a leaf: nodes 4 and 5 are alone on the second leaf. Pairs 0-3, 1-4,
  // 2-5 of a pipeline of 2: the first stays on its leaf, the others cross.
  ClusterSpec spec = example_cluster("fat_tree", 6, example_node("nvlink_switch", 1, 1));
  spec.fabric_parameters.set("nodes_per_leaf", 4);
  REQUIRE(fabric_error(spec).empty());
  const Plan plan = plan_of({.data = 3, .pipeline = 2});
  const Classes found = classes(fold_of(plan, spec));
  CHECK(found.contains({0}));
  CHECK(found.contains({3}));
  // On one leaf all are alike again.
  spec.fabric_parameters.set("nodes_per_leaf", 6);
  CHECK(classes(fold_of(plan, spec)) == Classes{{0, 1, 2}, {3, 4, 5}});
}

TEST_CASE("symmetry: classes are an equitable partition") {
  // What folding rests on, looked up by counting instead of colours: members of one communicator
  // class have the same number of members in each rank class, and links of one class carry the same
  // number of uses by each communicator class.
  ClusterSpec spec = example_cluster("fat_tree", 8, example_node("nvlink_switch", 2, 2));
  spec.fabric_parameters.set("nodes_per_leaf", 3);
  spec.fabric_parameters.set("oversubscription", 2);
  spec.link_overrides = {{.link = "n2.nic1.down", .bandwidth_factor = 0.5}};
  REQUIRE(fabric_error(spec).empty());
  const Cluster cluster = build_cluster(spec);
  for (const Parallelism& parallel :
       {Parallelism{.data = 16}, Parallelism{.data = 4, .tensor = 2, .pipeline = 2},
        Parallelism{.data = 8, .pipeline = 2}, Parallelism{.data = 4, .pipeline = 4}}) {
    const Plan plan = plan_of(parallel);
    const MeasuredTimes nothing;
    const Communicators communicators(plan, cluster, nothing);
    std::vector<double> slowdown(16, 1);
    slowdown[5] = 2;
    const Partition partition = fold_all(plan, cluster, communicators, slowdown);
    CHECK(partition.rank_classes > parallel.pipeline);
    std::map<int, std::map<int, int>> members;             // communicator class -> rank class
    std::map<std::pair<int, int>, std::map<int, int>> at;  // link, -> communicator class
    for (std::size_t c = 0; c < communicators.all.size(); ++c) {
      const int own = partition.communicator_class[c];
      std::map<int, int> count;
      for (const int member : communicators.all[c].members)
        ++count[partition.rank_class[std::size_t(member)]];
      const auto [known, is_new] = members.try_emplace(own, count);
      CHECK(known->second == count);
      for (std::size_t p = 0; p < communicators.all[c].phases.size(); ++p)
        for (const LinkUse& use : communicators.all[c].phases[p].uses)
          at[{use.link, int(p)}][own] += use.times;
    }
    std::map<std::pair<int, int>, std::map<int, int>> of_class;
    for (const auto& [where, uses] : at) {
      const int link_class = partition.link_class[std::size_t(where.first)];
      REQUIRE(link_class >= 0);
      const auto [known, is_new] = of_class.try_emplace({link_class, where.second}, uses);
      CHECK(known->second == uses);
    }
  }
}

}  // namespace windtunnel

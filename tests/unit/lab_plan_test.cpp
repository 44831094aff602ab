// From topologies to plans and commands; nothing here needs root.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "backend/lab/lab_commands.hpp"
#include "backend/lab/lab_plan.hpp"
#include "backend/lab/lab_state.hpp"
#include "backend/lab/lab_text.hpp"
#include "catch.hpp"
#include "config/load.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

const std::string kRoot = WINDTUNNEL_SOURCE_DIR;
constexpr const char* kTopologies[] = {"star-2-slow", "star-4", "star-uneven", "two-leaves",
                                       "two-spines"};

ClusterSpec spec_of(const std::string& name) {
  return load_cluster(kRoot + "/tests/data/lab/" + name + ".yaml");
}

LabPlan plan_of(const ClusterSpec& spec) {
  return lab_plan(build_cluster(spec), "/topologies/lab.yaml");
}

std::map<std::string, double> megabits_by_link(const LabPlan& plan) {
  std::map<std::string, double> rates;
  for (const LabShaper& shaper : plan.lab.shapers)
    rates[shaper.link] = shaper.bits_per_second / 1e6;
  return rates;
}

std::string error_of(const ClusterSpec& spec) {
  return lab_error(build_cluster(spec));
}

// UPDATE_GOLDEN=1 rewrites the file; the change is then reviewed as text.
void check_golden(const std::string& name, const std::string& text) {
  const fs::path path = kRoot + "/tests/golden/lab/" + name + ".txt";
  if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  REQUIRE(file);
  CHECK(text == std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace

TEST_CASE("lab plan: ranks and rates of uneven hosts on a star") {
  const LabPlan plan = plan_of(spec_of("star-uneven"));
  CHECK(plan.leaves == 1);
  CHECK(plan.spines == 0);
  CHECK(plan.notes.empty());
  const auto rates = megabits_by_link(plan);
  REQUIRE(rates.size() == 8);
  const double expected[] = {400, 200, 200, 100};
  for (int host = 0; host < 4; ++host) {
    const std::string nic = "n" + std::to_string(host) + ".nic0";
    CHECK(rates.at(nic + ".up") == Approx(expected[host]).epsilon(1e-12));
    CHECK(rates.at(nic + ".down") == Approx(expected[host]).epsilon(1e-12));
  }
}

TEST_CASE("lab plan: a host has the ranks that the simulator places on its node") {
  for (const char* name : kTopologies) {
    const Cluster cluster = build_cluster(spec_of(name));
    const LabPlan plan = lab_plan(cluster, "");
    std::vector<int> node_of_rank;
    for (int host = 0; host < int(plan.lab.hosts.size()); ++host) {
      CHECK(plan.lab.hosts[std::size_t(host)].first_rank == int(node_of_rank.size()));
      node_of_rank.resize(
          node_of_rank.size() + std::size_t(plan.lab.hosts[std::size_t(host)].ranks), host);
    }
    REQUIRE(node_of_rank.size() == cluster.gpus.size());
    for (std::size_t rank = 0; rank < node_of_rank.size(); ++rank)
      CHECK(node_of_rank[rank] == cluster.gpus[rank].node);
  }
}

TEST_CASE("lab plan: cables of an oversubscribed core and the spine of each destination") {
  // 2 hosts of 400 Mb/s a leaf, 4:1 oversubscribed: one cable of 2 x 400 / 4 = 200 Mb/s.
  const LabPlan leaves = plan_of(spec_of("two-leaves"));
  CHECK(leaves.leaves == 2);
  CHECK(leaves.spines == 1);
  CHECK(leaves.leaf_of_host == std::vector<int>{0, 0, 1, 1});
  CHECK(megabits_by_link(leaves).at("leaf1.up0") == Approx(200).epsilon(1e-12));
  // 4 hosts of 400 Mb/s a leaf, 2:1: two cables of 400 Mb/s; D-mod-k: destination modulo 2.
  const LabPlan spines = plan_of(spec_of("two-spines"));
  CHECK(spines.spines == 2);
  CHECK(megabits_by_link(spines).at("leaf0.down1") == Approx(400).epsilon(1e-12));
  CHECK(spines.spine_to_host == std::vector<int>{0, 1, 0, 1, 0, 1, 0, 1});
}

TEST_CASE("lab plan: an overridden link is as slow in the lab as in the prediction") {
  ClusterSpec spec = spec_of("two-leaves");
  spec.link_overrides = {{"leaf0.up0", 0.5}, {"n3.nic0.down", 0.25}};
  const auto rates = megabits_by_link(plan_of(spec));
  CHECK(rates.at("leaf0.up0") == Approx(100).epsilon(1e-12));
  CHECK(rates.at("n3.nic0.down") == Approx(100).epsilon(1e-12));
  CHECK(rates.at("n3.nic0.up") == Approx(400).epsilon(1e-12));
}

TEST_CASE("lab plan: what the file says and a lab cannot promise is noted") {
  ClusterSpec spec = spec_of("star-4");
  spec.fabric_parameters.set("efficiency", 0.9);
  for (NodeType& type : spec.node_types) type.nic_bandwidth = Rate(25e9 / 8);
  CHECK(plan_of(spec).notes ==
        std::vector<std::string>{
            "the file predicts with efficiency 0.9, and TCP in a lab gets 0.9564 of a link's rate",
            "labs are known to keep their rates up to 1 Gb/s, and link n0.nic0.up has 25 Gb/s"});
}

TEST_CASE("lab plan: clusters that cannot be built are refused with a reason") {
  const auto shipped = [](const std::string& name) {
    return error_of(load_cluster(kRoot + "/topologies/clusters/" + name + ".yaml"));
  };
  CHECK(shipped("single-8xh100") ==
        "A lab emulates the network between nodes, and this cluster has one node.");
  CHECK(shipped("eos") == "A lab has at most 64 hosts, and this cluster has 576 nodes.");
  CHECK(shipped("torus-8x8") == "A lab has a fabric of the family star or fat_tree, not torus.");
  CHECK(shipped("fat-tree-2to1") ==
        "A host of a lab has 1 NIC, and node type 'NVIDIA DGX A100 (8 x A100-SXM4-80GB)' has 8.");
  ClusterSpec spec = spec_of("two-leaves");
  spec.fabric_parameters.set("levels", 3);
  spec.fabric_parameters.set("leaves_per_pod", 2);
  CHECK(error_of(spec) == "A lab's fat tree has 2 levels, not 3.");
  spec = spec_of("two-leaves");
  spec.fabric_parameters.set("oversubscription", 0.01);
  CHECK(error_of(spec) == "A leaf of a lab has at most 64 cables up.");
  spec = spec_of("star-4");
  spec.link_overrides = {{"n2.nic0.up", 1e-6}};
  CHECK(error_of(spec) == "Link n2.nic0.up has 1000 b/s; a link of a lab has at least 1 Mb/s.");
}

TEST_CASE(
    "lab plan: every shipped cluster is refused or planned with all links between its nodes") {
  int planned = 0;
  for (const auto& entry : fs::directory_iterator(kRoot + "/topologies/clusters")) {
    INFO(entry.path().string());
    const Cluster cluster = build_cluster(load_cluster(entry.path().string()));
    if (!lab_error(cluster).empty()) continue;
    ++planned;
    const LabPlan plan = lab_plan(cluster, "");
    std::set<std::string> devices;
    for (const LabShaper& shaper : plan.lab.shapers) {
      CHECK(shaper.device.size() <= 15);  // IFNAMSIZ
      CHECK(devices.insert(shaper.netns + "/" + shaper.device).second);
    }
    CHECK(plan.lab.shapers.size() ==
          2 * plan.lab.hosts.size() + 2 * std::size_t(plan.leaves) * std::size_t(plan.spines));
  }
  CHECK(planned >= 3);
}

TEST_CASE("lab commands: golden") {
  for (const char* name : {"star-uneven", "two-leaves", "two-spines"}) {
    std::string text;
    for (const Command& command : up_commands(plan_of(spec_of(name))))
      text += to_text(command) + "\n";
    check_golden(name, text);
  }
}

TEST_CASE("lab text: golden") {
  LabDrops drops{{{"n0.nic0.up", 0}, {"n1.nic0.down", 3}, {"leaf0.up0", 4}}, ""};
  check_golden("status", to_text(plan_of(spec_of("two-leaves")).lab) + to_text(drops) +
                             to_text(LabDrops{{}, "no tc"}));
}

TEST_CASE("lab state: comes back as it was written, and nothing else is a lab") {
  for (const char* name : kTopologies) {
    const std::string text = to_json(plan_of(spec_of(name)).lab);
    const auto lab = lab_of_json(text);
    REQUIRE(lab);
    CHECK(to_json(*lab) == text);
    CHECK(!lab_of_json(text.substr(0, text.size() / 2)));
  }
  for (const char* text : {"", "{}", "[]", "3", "{\"topology\": 1}",
                           "{\"topology\": \"\", \"hosts\": 1, \"shapers\": []}",
                           "{\"topology\": \"\", \"hosts\": [{}], \"shapers\": []}"})
    CHECK(!lab_of_json(text));
}

}  // namespace windtunnel

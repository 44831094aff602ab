// Chakra traces that are made by hand: what a small one means, and what is refused with which
// words.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "catch.hpp"
#include "chakra.pb.h"
#include "folder.hpp"
#include "interchange/chakra.hpp"
#include "interchange/delimited.hpp"

using namespace windtunnel;

namespace {

using Nodes = std::vector<chakra::Node>;

chakra::Node node(std::uint64_t id, chakra::NodeType type, const std::string& name,
                  const std::vector<std::uint64_t>& after = {}) {
  chakra::Node made;
  made.set_id(id);
  made.set_type(type);
  made.set_name(name);
  for (const std::uint64_t before : after) made.add_data_deps(before);
  return made;
}

chakra::Attribute& attribute(chakra::Node& node, const std::string& name) {
  chakra::Attribute& added = *node.add_attr();
  added.set_name(name);
  return added;
}

chakra::Node kernel(std::uint64_t id, std::uint64_t micros,
                    const std::vector<std::uint64_t>& after = {}) {
  chakra::Node made = node(id, chakra::COMP_NODE, "kernel", after);
  made.set_duration_micros(micros);
  return made;
}

chakra::Node message(std::uint64_t id, bool is_send, int peer, int bytes,
                     const std::vector<std::uint64_t>& after = {}) {
  chakra::Node made =
      node(id, is_send ? chakra::COMM_SEND_NODE : chakra::COMM_RECV_NODE, "message", after);
  attribute(made, is_send ? "comm_dst" : "comm_src").set_int32_val(peer);
  attribute(made, "comm_tag").set_uint32_val(7);
  attribute(made, "comm_size").set_int64_val(bytes);
  return made;
}

chakra::Node collective(std::uint64_t id, int type, int bytes, const std::string& group,
                        const std::vector<std::uint64_t>& after = {}) {
  chakra::Node made = node(id, chakra::COMM_COLL_NODE, "collective", after);
  attribute(made, "comm_type").set_int64_val(type);
  attribute(made, "comm_size").set_uint64_val(std::uint64_t(bytes));
  if (!group.empty()) attribute(made, "pg_name").set_string_val(group);
  return made;
}

// Rank 0 computes and sends to rank 1, which computes; then both reduce.
const std::vector<Nodes> kGood = {{kernel(1, 1000), message(2, true, 1, 4096, {1}),
                                   collective(3, chakra::ALL_REDUCE, 100, "1", {2})},
                                  {message(1, false, 0, 4096), kernel(2, 500, {1}),
                                   collective(9, chakra::ALL_REDUCE, 100, "1", {2})}};
const std::string kGroups = R"({"1": [0, 1], "2": [1], "3": [0, 2], "4": [1, 1], "5": 3, "6": []})";

class Traces {
 public:
  explicit Traces(const std::vector<Nodes>& ranks, const std::string& groups = kGroups)
      : folder_("interchange_chakra") {
    for (int rank = 0; rank < int(ranks.size()); ++rank) {
      std::ofstream stream(chakra_file(prefix(), rank), std::ios::binary);
      chakra::GlobalMetadata metadata;
      metadata.set_version("test");
      write_delimited(metadata, stream);
      for (const chakra::Node& each : ranks[std::size_t(rank)]) write_delimited(each, stream);
    }
    if (!groups.empty()) write_text(chakra_groups_file(prefix()), groups);
  }
  std::string prefix() const { return (folder_.path / "t").string(); }

  // Without the folder of the files.
  std::string problem(int ranks = 2) const {
    std::string text = read_chakra(prefix(), ranks).problem;
    const std::string folder = folder_.path.string() + "/";
    if (text.starts_with(folder)) text.erase(0, folder.size());
    return text;
  }

 private:
  TemporaryFolder folder_;
};

// The problem of the good traces with one rank's nodes changed.
std::string problem_with(int rank, const std::function<void(Nodes&)>& change) {
  std::vector<Nodes> ranks = kGood;
  change(ranks[std::size_t(rank)]);
  return Traces(ranks).problem();
}

}  // namespace

TEST_CASE("chakra: what a small trace means") {
  const Traces traces(kGood);
  const ChakraTraces read = read_chakra(traces.prefix(), 2);
  REQUIRE(read.problem == "");
  const Plan& plan = read.plan;
  CHECK(plan.grid.size() == 2);
  CHECK(plan.grid.listed == std::vector<std::vector<int>>{{0, 1}});
  REQUIRE(plan.programs.size() == 2);
  const std::vector<Op>&a = plan.programs[0].ops, &b = plan.programs[1].ops;
  REQUIRE(a.size() == 3);
  REQUIRE(b.size() == 3);
  CHECK(a[0].kind == OpKind::Compute);
  CHECK(a[0].stream == Stream::Compute);
  const auto time_of = [&plan](const Op& op) {
    return std::get<Work>(plan.blocks[std::size_t(op.block)].front().piece.what).duration.value;
  };
  CHECK(time_of(a[0]) == 1000 * 1e-6);
  CHECK(time_of(b[1]) == 500 * 1e-6);
  CHECK(a[1].kind == OpKind::Send);
  CHECK(a[1].stream == Stream::Transfers);
  CHECK(a[1].peer == 1);
  CHECK(a[1].bytes == Bytes(4096));
  CHECK(a[1].after == std::vector{0});
  CHECK(b[0].kind == OpKind::Receive);
  CHECK(b[0].peer == 0);
  CHECK(b[0].stage == a[1].stage);
  CHECK(b[0].micro_batch == a[1].micro_batch);
  CHECK(b[2].kind == OpKind::Collective);
  CHECK(b[2].group == GroupName(GroupKind::Listed, 0));
  CHECK(b[2].collective == CollectiveKind::AllReduce);
  CHECK(b[2].bytes == Bytes(100));
}

TEST_CASE("chakra: sizes, groups and times in all the ways that traces say them") {
  // An all-gather's comm_size is one rank's share: of 2 ranks half of the buffer. No name of a
  // group, and "0", are all ranks; no file of groups is needed then.
  std::vector<Nodes> ranks = {{collective(1, chakra::ALL_GATHER, 100, ""),
                               collective(2, chakra::REDUCE_SCATTER, 100, "0"), kernel(3, 0)},
                              {collective(1, chakra::ALL_GATHER, 100, ""),
                               collective(2, chakra::REDUCE_SCATTER, 100, "0")}};
  attribute(ranks[0][2], "windtunnel_seconds").set_double_val(0.25e-6);
  const Traces traces(ranks, "");
  const ChakraTraces read = read_chakra(traces.prefix(), 2);
  REQUIRE(read.problem == "");
  const std::vector<Op>& ops = read.plan.programs[0].ops;
  CHECK(ops[0].bytes == Bytes(200));
  CHECK(ops[1].bytes == Bytes(100));
  CHECK(read.plan.grid.listed == std::vector<std::vector<int>>{{0, 1}, {0, 1}});
  const Block& block = read.plan.blocks[std::size_t(ops[2].block)];
  CHECK(std::get<Work>(block.front().piece.what).duration == Seconds(0.25e-6));
}

TEST_CASE("chakra: the collectives of a group and the kernels of a rank keep the file's order") {
  const Nodes nodes = {collective(1, chakra::ALL_REDUCE, 100, "1"),
                       collective(2, chakra::ALL_REDUCE, 100, "0"),
                       collective(3, chakra::ALL_REDUCE, 100, "1")};
  const Traces traces({nodes, nodes});
  const ChakraTraces read = read_chakra(traces.prefix(), 2);
  REQUIRE(read.problem == "");
  const std::vector<Op>& ops = read.plan.programs[0].ops;
  CHECK(ops[0].after.empty());
  CHECK(ops[1].after.empty());
  CHECK(ops[2].after == std::vector{0});
}

TEST_CASE("chakra: traces that are no step are refused, naming file and node") {
  CHECK(Traces(kGood).problem() == "");
  CHECK(Traces(kGood).problem(3) == "t.2.et: error: no such file");
  CHECK(Traces(kGood).problem(1) ==
        "t.1.et: error: the job has 1 GPUs, but there is a trace of one rank more");
  CHECK(Traces(kGood, "").problem() ==
        "t.comm_group.json: error: cannot be read, but a node names a process group");
  CHECK(Traces(kGood, "[1]").problem() ==
        R"(t.comm_group.json: error: not JSON of the form {"1": [0, 1], "2": [2, 3]})");
  CHECK(Traces(kGood, "{}").problem() == "t.comm_group.json: error: no process group '1'");

  const auto with_group = [](const std::string& name) {
    return problem_with(
        1, [&](Nodes& nodes) { nodes[2] = collective(9, chakra::ALL_REDUCE, 100, name); });
  };
  CHECK(with_group("3") == "t.comm_group.json: error: process group '3': the job has ranks 0 to 1");
  CHECK(with_group("4") ==
        "t.comm_group.json: error: process group '4': rank 1 for the second time");
  CHECK(with_group("5") == "t.comm_group.json: error: process group '5' is not a list of ranks");
  CHECK(with_group("6") == "t.comm_group.json: error: process group '6' is not a list of ranks");
  CHECK(with_group("2") ==
        "t.0.et: error: node 3 ('collective'): a collective that rank 1 of its group does not "
        "take part in");

  const auto with_node = [](const chakra::Node& added) {
    return problem_with(0, [&](Nodes& nodes) { nodes.push_back(added); });
  };
  CHECK(with_node(collective(4, chakra::ALL_REDUCE, 100, "2")) ==
        "t.0.et: error: node 4 ('collective'): rank 0 is not in process group '2'");
  CHECK(with_node(collective(4, chakra::BARRIER, 100, "")) ==
        "t.0.et: error: node 4 ('collective'): comm_type BARRIER is not simulated");
  CHECK(with_node(collective(4, 77, 100, "")) ==
        "t.0.et: error: node 4 ('collective'): comm_type 77 is not simulated");
  CHECK(with_node(collective(4, chakra::ALL_REDUCE, 0, "")) ==
        "t.0.et: error: node 4 ('collective'): a size of 0 bytes");
  CHECK(with_node(node(4, chakra::COMM_COLL_NODE, "bare")) ==
        "t.0.et: error: node 4 ('bare'): no attribute comm_type");
  CHECK(with_node(node(4, chakra::MEM_LOAD_NODE, "load")) ==
        "t.0.et: error: node 4 ('load'): a node of type MEM_LOAD_NODE, which is not simulated; "
        "only COMP_NODE, COMM_COLL_NODE, COMM_SEND_NODE and COMM_RECV_NODE are");
  CHECK(with_node(node(4, chakra::NodeType(99), "")) ==
        "t.0.et: error: node 4 (''): a node of type 99, which is not simulated; only COMP_NODE, "
        "COMM_COLL_NODE, COMM_SEND_NODE and COMM_RECV_NODE are");
  CHECK(with_node(message(4, true, 1, 10)) ==
        "t.0.et: error: node 4 ('message'): a message that nobody receives");
  CHECK(with_node(message(4, false, 1, 10)) ==
        "t.0.et: error: node 4 ('message'): a message that nobody sends");
  CHECK(with_node(message(4, true, 0, 10)) ==
        "t.0.et: error: node 4 ('message'): a message to rank 0 of 2");
  CHECK(with_node(message(4, true, 5, 10)) ==
        "t.0.et: error: node 4 ('message'): a message to rank 5 of 2");
  CHECK(with_node(kernel(3, 1)) == "t.0.et: error: node 3 ('kernel'): a second node of this id");
  CHECK(with_node(kernel(4, 1, {8})) ==
        "t.0.et: error: node 4 ('kernel'): waits for node 8, which is not in the file");
  CHECK(with_node(kernel(4, 1, {4})) ==
        "t.0.et: error: node 4 ('kernel'): can never begin: it waits in a circle, or for another "
        "rank that does");
  CHECK(with_node(kernel(4, std::uint64_t{1} << 63)) ==
        "t.0.et: error: node 4 ('kernel'): a duration of 9223372036854.775 s");

  chakra::Node changed = kernel(4, 1);
  attribute(changed, "windtunnel_seconds").set_double_val(-1);
  CHECK(with_node(changed) == "t.0.et: error: node 4 ('kernel'): a duration of -1 s");
  changed = kernel(4, 1);
  attribute(changed, "is_cpu_op").set_bool_val(true);
  CHECK(with_node(changed) ==
        "t.0.et: error: node 4 ('kernel'): an operation of the CPU, which is not simulated");
  changed = message(4, true, 1, 10);
  attribute(changed, "comm_src").set_int32_val(1);
  CHECK(with_node(changed) ==
        "t.0.et: error: node 4 ('message'): a message from rank 1 in the trace of rank 0");
  changed = node(4, chakra::COMM_COLL_NODE, "text");
  attribute(changed, "comm_type").set_string_val("all");
  CHECK(with_node(changed) ==
        "t.0.et: error: node 4 ('text'): attribute comm_type is not an integer");

  CHECK(problem_with(1, [](Nodes& nodes) { nodes[0] = message(1, false, 0, 8); }) ==
        "t.1.et: error: node 1 ('message'): receives 8 bytes, but rank 0 sends 4096");
  CHECK(problem_with(1, [](Nodes& nodes) { nodes[2] = collective(9, 2, 100, "1"); }) ==
        "t.0.et: error: node 3 ('collective'): another collective than that of rank 1 at this "
        "place of their group, all_gather of 200 bytes");
  CHECK(problem_with(1, [](Nodes& nodes) { nodes.pop_back(); }) ==
        "t.0.et: error: node 3 ('collective'): a collective that rank 1 of its group does not "
        "take part in");
  CHECK(problem_with(0,
                     [](Nodes& nodes) {
                       nodes[0].set_duration_micros(0);
                       attribute(nodes[0], "num_ops").set_int64_val(1000);
                     }) ==
        "t.0.et: error: node 1 ('kernel'): num_ops, but no kernel of the file has a duration: "
        "only recorded times are simulated");
  // Each waits for the other's message before it sends its own.
  CHECK(Traces({{message(1, false, 1, 10), message(2, true, 1, 10, {1})},
                {message(1, false, 0, 10), message(2, true, 0, 10, {1})}})
            .problem() ==
        "t.0.et: error: node 1 ('message'): can never begin: it waits in a circle, or for another "
        "rank that does");
  // Each begins with the group in which the other is second.
  CHECK(Traces({{collective(1, 0, 10, "0"), collective(2, 0, 10, "1", {1})},
                {collective(1, 0, 10, "1"), collective(2, 0, 10, "0", {1})}})
            .problem() ==
        "t.0.et: error: node 1 ('collective'): can never begin: it waits in a circle, or for "
        "another rank that does");
}

TEST_CASE("chakra: bytes that are no trace") {
  const Traces traces(kGood);
  const std::string path = chakra_file(traces.prefix(), 0);
  write_text(path, "");
  CHECK(traces.problem() ==
        "t.0.et: error: not a Chakra execution trace: it does not begin with GlobalMetadata");
  write_text(path, "model: {family: gpt}\n");
  CHECK(traces.problem() ==
        "t.0.et: error: not a Chakra execution trace: it does not begin with GlobalMetadata");
}

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "chakra.pb.h"
#include "interchange/chakra.hpp"
#include "interchange/delimited.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

// What the converters of mlcommons/chakra write.
constexpr const char* kVersion = "0.0.4";

chakra::CollectiveCommType type_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::AllReduce:
      return chakra::ALL_REDUCE;
    case CollectiveKind::AllGather:
      return chakra::ALL_GATHER;
    case CollectiveKind::ReduceScatter:
      return chakra::REDUCE_SCATTER;
    case CollectiveKind::AllToAll:
      return chakra::ALL_TO_ALL;
    case CollectiveKind::Broadcast:
      return chakra::BROADCAST;
  }
  return chakra::ALL_REDUCE;
}

// The process groups of a job, numbered from 1: ASTRA-sim takes "0" for all ranks. Groups of two
// kinds are two, also where they have the same members: their collectives may run side by side.
class Groups {
 public:
  int number(GroupName name, const std::vector<int>& members) {
    return numbers_.try_emplace({name, members}, int(numbers_.size()) + 1).first->second;
  }
  std::string to_json() const {
    std::map<int, std::vector<int>> members;
    for (const auto& [group, number] : numbers_) members[number] = group.second;
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const auto& [number, ranks] : members) json[std::to_string(number)] = ranks;
    return json.dump() + "\n";
  }

 private:
  std::map<std::pair<GroupName, std::vector<int>>, int> numbers_;
};

// Attributes have the types that Chakra's own feeder reads.
class NodeText {
 public:
  explicit NodeText(chakra::Node& node) : node_(node) {
    attribute("is_cpu_op").set_bool_val(false);
  }
  chakra::Attribute& attribute(const char* name) {
    chakra::Attribute& added = *node_.add_attr();
    added.set_name(name);
    return added;
  }
  void size(Bytes whole, double share) {
    attribute("comm_size").set_int64_val(std::max(1LL, std::llround(whole.value * share)));
    attribute("windtunnel_bytes").set_double_val(whole.value);
  }

 private:
  chakra::Node& node_;
};

// The nodes of one rank. An op is a chain of links, each of one or two nodes side by side.
class RankNodes {
 public:
  RankNodes(const Plan& plan, const Cluster& cluster, Groups& groups, int rank)
      : plan_(plan),
        cluster_(cluster),
        groups_(groups),
        rank_(rank),
        program_(plan.programs[std::size_t(plan.grid.coordinates(rank).pipeline)]),
        links_(program_.ops.size()) {
    for (int op = 0; op < int(program_.ops.size()); ++op) add(op);
    for (int op = 0; op < int(program_.ops.size()); ++op) connect(op);
  }

  const std::vector<chakra::Node>& nodes() const { return nodes_; }

 private:
  using Ids = std::vector<std::uint64_t>;
  struct Links {
    Ids first, last;  // empty for an op that does nothing: a collective of one rank
    int before = -1;  // op before it on its stream
  };

  const Op& op_at(int op) const { return program_.ops[std::size_t(op)]; }

  chakra::Node& new_node(std::string name, chakra::NodeType type) {
    chakra::Node& node = nodes_.emplace_back();
    node.set_id(nodes_.size());
    node.set_name(std::move(name));
    node.set_type(type);
    return node;
  }

  // A link after the op's links so far.
  void append(int op, const Ids& link) {
    Links& links = links_[std::size_t(op)];
    for (const std::uint64_t id : link)
      for (const std::uint64_t before : links.last) nodes_[id - 1].add_data_deps(before);
    if (links.first.empty()) links.first = link;
    links.last = link;
  }

  void add(int op) {
    const Op& what = op_at(op);
    if (what.stream != Stream::Receive && what.stream != Stream::Transfers)
      links_[std::size_t(op)].before = std::exchange(last_of_stream_[std::size_t(what.stream)], op);
    switch (what.kind) {
      case OpKind::Compute:
        add_block(op);
        break;
      case OpKind::Collective:
        if (const auto id = add_collective(op_name(what), what.group, what.collective, what.bytes))
          append(op, {id});
        break;
      case OpKind::Send:
      case OpKind::Receive:
        append(op, {add_message(what)});
        break;
    }
  }

  // As the engine lowers a block: kernels up to the next collective are one node; a collective that
  // overlaps runs beside the kernel after it.
  void add_block(int op) {
    const Op& what = op_at(op);
    const GpuSpec& gpu = cluster_.gpu_spec(rank_);
    std::uint64_t beside = 0;  // a collective that the next kernel runs beside
    Kernels kernels;
    const auto close = [&] {
      if (kernels.count == 0) return;
      const std::uint64_t id = add_kernels(what, kernels);
      append(op, beside > 0 ? Ids{std::exchange(beside, 0), id} : Ids{id});
      kernels = {};
    };
    for (const BlockPiece& piece : plan_.blocks[std::size_t(what.block)]) {
      if (const auto* collective = std::get_if<LayerCollective>(&piece.piece.what)) {
        const GroupKind group = group_kind(collective->group);
        if (plan_.grid.members(group, rank_).size() == 1) continue;
        close();
        if (beside > 0) append(op, {std::exchange(beside, 0)});
        const std::string name = op_name(what) + " " + std::string(piece.piece.name);
        const std::uint64_t id = add_collective(name, group, collective->kind, collective->size);
        if (collective->overlaps_next)
          beside = id;
        else
          append(op, {id});
        continue;
      }
      const Work& work = std::get<Work>(piece.piece.what);
      if (kernels.count++ == 0) kernels.name = piece.piece.name;
      kernels.time += kernel_time(gpu, work, plan_.type);
      kernels.flops += work.flops;
      kernels.bytes += work.bytes;
      if (beside > 0) close();
    }
    close();
    if (beside > 0) append(op, {beside});
    if (links_[std::size_t(op)].first.empty()) append(op, {add_kernels(what, kernels)});
  }

  struct Kernels {
    int count = 0;
    std::string_view name;  // of the first
    Seconds time;
    Flops flops;
    Bytes bytes;
  };

  std::uint64_t add_kernels(const Op& op, const Kernels& kernels) {
    const bool is_recorded = !op.name.empty();
    chakra::Node& node = new_node(
        is_recorded ? op.name : op_name(op) + " " + std::string(kernels.name), chakra::COMP_NODE);
    constexpr double kMicro = 1e6;
    node.set_duration_micros(std::uint64_t(std::llround(kernels.time.value * kMicro)));
    NodeText text(node);
    text.attribute("num_ops").set_int64_val(std::llround(kernels.flops.value));
    text.attribute("tensor_size").set_uint64_val(std::uint64_t(std::llround(kernels.bytes.value)));
    text.attribute("windtunnel_seconds").set_double_val(kernels.time.value);
    return node.id();
  }

  const std::vector<int>& members(GroupName group) {
    const auto [found, is_new] = members_.try_emplace(group);
    if (is_new) found->second = plan_.grid.members(group, rank_);
    return found->second;
  }

  // 0 for a group of one, which has nothing to do.
  std::uint64_t add_collective(const std::string& name, GroupName group, CollectiveKind kind,
                               Bytes size) {
    const std::vector<int>& ranks = members(group);
    if (ranks.size() == 1) return 0;
    chakra::Node& node = new_node(name, chakra::COMM_COLL_NODE);
    NodeText text(node);
    text.attribute("comm_type").set_int64_val(type_of(kind));
    text.size(size, kind == CollectiveKind::AllGather ? 1 / double(ranks.size()) : 1);
    text.attribute("pg_name").set_string_val(std::to_string(groups_.number(group, ranks)));
    return node.id();
  }

  // Messages of two ranks are numbered by the order in which their programs list them; a Plan has
  // each once.
  std::uint64_t add_message(const Op& op) {
    const bool is_send = op.kind == OpKind::Send;
    Coordinates at = plan_.grid.coordinates(rank_);
    at.pipeline = op.peer;
    const int peer = plan_.grid.rank(at);
    chakra::Node& node =
        new_node(op_name(op), is_send ? chakra::COMM_SEND_NODE : chakra::COMM_RECV_NODE);
    NodeText text(node);
    text.attribute("comm_src").set_int32_val(is_send ? rank_ : peer);
    text.attribute("comm_dst").set_int32_val(is_send ? peer : rank_);
    text.attribute("comm_tag").set_int32_val(tag_of(op));
    text.size(op.bytes, 1);
    return node.id();
  }

  // The same at both ends and different for any two messages of a pair of ranks.
  std::int32_t tag_of(const Op& op) const {
    const bool is_gradient = op.purpose == Purpose::Gradient;
    if (op.purpose == Purpose::Message) return op.micro_batch;
    const std::int64_t stages = plan_.schedule.stages();
    return std::int32_t(((op.micro_batch * stages + op.stage) * 2 + is_gradient) &
                        std::numeric_limits<std::int32_t>::max());
  }

  // The last nodes of an op, or of what it comes after if it does nothing.
  void add_ends(int op, std::set<std::uint64_t>& ends) const {
    std::vector<int> open = {op};
    std::set<int> seen;
    while (!open.empty()) {
      const int next = open.back();
      open.pop_back();
      if (next < 0 || !seen.insert(next).second) continue;
      const Links& links = links_[std::size_t(next)];
      ends.insert(links.last.begin(), links.last.end());
      if (!links.last.empty()) continue;
      open.insert(open.end(), op_at(next).after.begin(), op_at(next).after.end());
      open.push_back(links.before);
    }
  }

  void connect(int op) {
    const Links& links = links_[std::size_t(op)];
    if (links.first.empty()) return;
    std::set<std::uint64_t> data, control;
    for (const int before : op_at(op).after) add_ends(before, data);
    if (links.before >= 0) add_ends(links.before, control);
    for (const std::uint64_t id : links.first) {
      chakra::Node& node = nodes_[id - 1];
      for (const std::uint64_t before : data) node.add_data_deps(before);
      for (const std::uint64_t before : control)
        if (!data.contains(before)) node.add_ctrl_deps(before);
    }
  }

  const Plan& plan_;
  const Cluster& cluster_;
  Groups& groups_;
  const int rank_;
  const Program& program_;
  std::vector<Links> links_;  // by op
  std::vector<chakra::Node> nodes_;
  std::map<GroupName, std::vector<int>> members_;
  std::array<int, kStreams> last_of_stream_ = [] {
    std::array<int, kStreams> none{};
    none.fill(-1);
    return none;
  }();
};

// Files under temporary names, which get their own names together or go away together.
class NewFiles {
 public:
  ~NewFiles() {
    std::error_code ignored;
    for (const auto& [temporary, path] : files_) fs::remove(temporary, ignored);
  }
  // Empty if all is written.
  std::string write(const std::string& path, const std::function<void(std::ostream&)>& content) {
    const std::string temporary = path + "." + std::to_string(::getpid()) + ".tmp";
    files_.emplace_back(temporary, path);
    std::ofstream stream(temporary, std::ios::binary);
    if (stream) content(stream);
    stream.close();
    return stream ? "" : "cannot write '" + path + "'";
  }
  std::string keep() {
    for (const auto& [temporary, path] : files_) {
      std::error_code error;
      fs::rename(temporary, path, error);
      if (error) return "cannot write '" + path + "': " + error.message();
    }
    files_.clear();
    return "";
  }

 private:
  std::vector<std::pair<std::string, std::string>> files_;
};

}  // namespace

std::string chakra_file(const std::string& prefix, int rank) {
  return prefix + "." + std::to_string(rank) + ".et";
}

std::string chakra_groups_file(const std::string& prefix) {
  return prefix + ".comm_group.json";
}

std::string write_chakra(const Plan& plan, const Cluster& cluster, const std::string& prefix) {
  std::error_code error;
  if (const fs::path folder = fs::path(prefix).parent_path(); !folder.empty())
    fs::create_directories(folder, error);
  if (error) return "cannot make the folder of '" + prefix + "': " + error.message();
  NewFiles files;
  Groups groups;
  chakra::GlobalMetadata metadata;
  metadata.set_version(kVersion);
  for (int rank = 0; rank < plan.grid.size(); ++rank) {
    const RankNodes nodes(plan, cluster, groups, rank);
    std::string problem = files.write(chakra_file(prefix, rank), [&](std::ostream& stream) {
      write_delimited(metadata, stream);
      for (const chakra::Node& node : nodes.nodes()) write_delimited(node, stream);
    });
    if (!problem.empty()) return problem;
  }
  std::string problem = files.write(chakra_groups_file(prefix),
                                    [&](std::ostream& stream) { stream << groups.to_json(); });
  return problem.empty() ? files.keep() : problem;
}

}  // namespace windtunnel

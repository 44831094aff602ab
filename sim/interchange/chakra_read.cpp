#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "chakra.pb.h"
#include "interchange/chakra.hpp"
#include "interchange/delimited.hpp"
#include "interchange/stuck.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

// Thrown inside this file only: the text of ChakraTraces::problem.
struct Problem {
  std::string text;
};

// Beyond any step, and small enough to add up.
constexpr double kLongestKernel = 1e9;    // s
constexpr double kLargestMessage = 1e18;  // bytes
constexpr std::size_t kMostNodes = 1 << 28;

std::optional<CollectiveKind> kind_of(std::int64_t type) {
  switch (type) {
    case chakra::ALL_REDUCE:
      return CollectiveKind::AllReduce;
    case chakra::ALL_GATHER:
      return CollectiveKind::AllGather;
    case chakra::REDUCE_SCATTER:
      return CollectiveKind::ReduceScatter;
    case chakra::ALL_TO_ALL:
      return CollectiveKind::AllToAll;
    case chakra::BROADCAST:
      return CollectiveKind::Broadcast;
    default:
      return std::nullopt;
  }
}

// A name in the file's own bytes, made fit to be shown.
std::string shown(const std::string& text) {
  std::string safe = text.substr(0, 60);
  for (char& c : safe)
    if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > '~') c = '?';
  return safe;
}

// ---- process groups -----------------------------------------------------------------------------

class Groups {
 public:
  Groups(const std::string& prefix, int ranks) : path_(chakra_groups_file(prefix)), ranks_(ranks) {}

  // The listed group of this pg_name. ASTRA-sim: no name, and "0", are all ranks.
  int index_of(const std::string& name) {
    const auto [known, is_new] = index_.try_emplace(name, int(listed.size()));
    if (is_new) listed.push_back(name.empty() || name == "0" ? everyone() : members(name));
    return known->second;
  }

  std::vector<std::vector<int>> listed;

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Problem{fmt::format("{}: error: {}", path_, why)};
  }

  std::vector<int> everyone() const {
    std::vector<int> all(static_cast<std::size_t>(ranks_));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }

  const nlohmann::json& file() {
    if (file_.is_object()) return file_;
    std::ifstream stream(path_);
    if (!stream) refuse("cannot be read, but a node names a process group");
    file_ = nlohmann::json::parse(stream, nullptr, false);
    if (!file_.is_object()) refuse(R"(not JSON of the form {"1": [0, 1], "2": [2, 3]})");
    return file_;
  }

  std::vector<int> members(const std::string& name) {
    const auto found = file().find(name);
    if (found == file().end()) refuse(fmt::format("no process group '{}'", shown(name)));
    if (!found->is_array() || found->empty())
      refuse(fmt::format("process group '{}' is not a list of ranks", shown(name)));
    std::vector<int> ranks;
    std::set<int> seen;
    for (const nlohmann::json& rank : *found) {
      const bool is_rank = rank.is_number_integer() && rank >= 0 && rank < ranks_;
      if (!is_rank)
        refuse(
            fmt::format("process group '{}': the job has ranks 0 to {}", shown(name), ranks_ - 1));
      ranks.push_back(rank.get<int>());
      if (!seen.insert(ranks.back()).second)
        refuse(fmt::format("process group '{}': rank {} for the second time", shown(name),
                           ranks.back()));
    }
    return ranks;
  }

  std::string path_;
  int ranks_;
  nlohmann::json file_;
  std::map<std::string, int> index_;
};

// ---- one node -----------------------------------------------------------------------------------

// The attributes of a node, and how to complain about it.
class NodeReader {
 public:
  NodeReader(const std::string& path, const chakra::Node& node) : path_(path), node_(node) {}

  [[noreturn]] void refuse(const std::string& why) const {
    throw Problem{
        fmt::format("{}: error: node {} ('{}'): {}", path_, node_.id(), shown(node_.name()), why)};
  }

  bool flag(const char* name) const {
    const chakra::Attribute* found = find(name);
    return found && found->bool_val();
  }
  std::string text(const char* name) const {
    const chakra::Attribute* found = find(name);
    return found ? found->string_val() : "";
  }
  std::optional<double> number(const char* name) const {
    const chakra::Attribute* found = find(name);
    if (!found) return std::nullopt;
    if (found->value_case() != chakra::Attribute::kDoubleVal) refuse(form(name, "a double"));
    return found->double_val();
  }
  // Writers use any of the schema's integer types.
  std::optional<std::int64_t> integer(const char* name) const {
    const chakra::Attribute* found = find(name);
    if (!found) return std::nullopt;
    switch (found->value_case()) {
      case chakra::Attribute::kInt32Val:
        return found->int32_val();
      case chakra::Attribute::kInt64Val:
        return found->int64_val();
      case chakra::Attribute::kUint32Val:
        return found->uint32_val();
      case chakra::Attribute::kUint64Val:
        return std::int64_t(std::min<std::uint64_t>(found->uint64_val(), INT64_MAX));
      case chakra::Attribute::kSint32Val:
        return found->sint32_val();
      case chakra::Attribute::kSint64Val:
        return found->sint64_val();
      case chakra::Attribute::kFixed32Val:
        return found->fixed32_val();
      case chakra::Attribute::kFixed64Val:
        return std::int64_t(std::min<std::uint64_t>(found->fixed64_val(), INT64_MAX));
      case chakra::Attribute::kSfixed32Val:
        return found->sfixed32_val();
      case chakra::Attribute::kSfixed64Val:
        return found->sfixed64_val();
      default:
        refuse(form(name, "an integer"));
    }
  }
  std::int64_t needed(const char* name) const {
    const auto value = integer(name);
    if (!value) refuse(fmt::format("no attribute {}", name));
    return *value;
  }

  Seconds duration() const {
    constexpr double kMicro = 1e-6;
    const double seconds =
        number("windtunnel_seconds").value_or(double(node_.duration_micros()) * kMicro);
    if (!(seconds >= 0 && seconds <= kLongestKernel))
      refuse(fmt::format("a duration of {} s", seconds));
    return Seconds(seconds);
  }

  // The full buffer of a collective of n ranks, or a message.
  Bytes size(double n) const {
    const auto own = number("windtunnel_bytes");
    const double bytes = own ? *own : double(needed("comm_size")) * n;
    if (!(bytes > 0 && bytes <= kLargestMessage)) refuse(fmt::format("a size of {} bytes", bytes));
    return Bytes(bytes);
  }

 private:
  static std::string form(const char* name, const char* what) {
    return fmt::format("attribute {} is not {}", name, what);
  }
  const chakra::Attribute* find(const char* name) const {
    for (const chakra::Attribute& attribute : node_.attr())
      if (attribute.name() == name) return &attribute;
    return nullptr;
  }

  const std::string& path_;
  const chakra::Node& node_;
};

// ---- one rank -----------------------------------------------------------------------------------

struct Dependencies {
  std::uint64_t id = 0;
  std::vector<std::uint64_t> before;
};

struct RankFile {
  std::string path;
  std::vector<Dependencies> nodes;  // by op
  std::vector<int> tags;            // by op, of messages
};

class Reader {
 public:
  Reader(std::string prefix, int ranks)
      : prefix_(std::move(prefix)), ranks_(ranks), groups_(prefix_, ranks) {}

  Plan plan() {
    plan_.grid = {.pipeline = ranks_};
    std::error_code ignored;
    if (const std::string beyond = chakra_file(prefix_, ranks_); fs::exists(beyond, ignored))
      throw Problem{
          fmt::format("{}: error: the job has {} GPUs, but there is a trace of one rank "
                      "more",
                      beyond, ranks_)};
    for (int rank = 0; rank < ranks_; ++rank) read(rank);
    plan_.grid.listed = std::move(groups_.listed);
    for (int rank = 0; rank < ranks_; ++rank) connect(rank);
    match_messages();
    match_collectives();
    if (const auto stuck = first_stuck(plan_))
      refuse(*stuck, "can never begin: it waits in a circle, or for another rank that does");
    return std::move(plan_);
  }

 private:
  [[noreturn]] void refuse(OpOfRank at, const std::string& why) const {
    const RankFile& file = files_[std::size_t(at.rank)];
    throw Problem{fmt::format("{}: error: node {} ('{}'): {}", file.path,
                              file.nodes[std::size_t(at.op)].id, shown(op_at(at).name), why)};
  }
  const Op& op_at(OpOfRank at) const {
    return plan_.programs[std::size_t(at.rank)].ops[std::size_t(at.op)];
  }

  void read(int rank) {
    RankFile& file = files_.emplace_back();
    file.path = chakra_file(prefix_, rank);
    const auto broken = [&file](const std::string& why) {
      throw Problem{fmt::format("{}: error: {}", file.path, why)};
    };
    std::error_code ignored;
    if (!fs::is_regular_file(file.path, ignored)) broken("no such file");
    std::ifstream stream(file.path, std::ios::binary);
    if (!stream) broken("cannot be read");
    DelimitedReader messages(stream);
    chakra::GlobalMetadata metadata;
    if (messages.next(metadata) != DelimitedReader::Result::Message)
      broken("not a Chakra execution trace: it does not begin with GlobalMetadata");
    plan_.programs.push_back({.pipeline = rank});
    chakra::Node node;
    while (true) {
      const DelimitedReader::Result result = messages.next(node);
      if (result == DelimitedReader::Result::End) break;
      const std::size_t count = file.nodes.size();
      if (result == DelimitedReader::Result::Broken)
        broken(fmt::format("not a Chakra execution trace, or cut off, after {} nodes", count));
      if (count == kMostNodes) broken("too many nodes");
      add(rank, node);
    }
    if (work_without_time_ >= 0 && !has_time_)
      refuse({rank, std::exchange(work_without_time_, -1)},
             "num_ops, but no kernel of the file has a duration: only recorded times are "
             "simulated");
    work_without_time_ = -1;
    has_time_ = false;
  }

  void add(int rank, const chakra::Node& node) {
    RankFile& file = files_.back();
    const NodeReader reader(file.path, node);
    if (reader.flag("is_cpu_op")) reader.refuse("an operation of the CPU, which is not simulated");
    Op op{.stream = Stream::Transfers, .name = node.name()};
    if (op.name.empty()) op.name = fmt::format("node {}", node.id());
    int tag = 0;
    switch (node.type()) {
      case chakra::COMP_NODE:
        set_kernel(reader, op);
        break;
      case chakra::COMM_COLL_NODE:
        set_collective(reader, rank, op);
        break;
      case chakra::COMM_SEND_NODE:
      case chakra::COMM_RECV_NODE:
        op.kind = node.type() == chakra::COMM_SEND_NODE ? OpKind::Send : OpKind::Receive;
        tag = set_message(reader, rank, op);
        break;
      default:
        reader.refuse(
            fmt::format("a node of type {}, which is not simulated; only COMP_NODE, "
                        "COMM_COLL_NODE, COMM_SEND_NODE and COMM_RECV_NODE are",
                        type_name(node.type())));
    }
    Dependencies& dependencies = file.nodes.emplace_back();
    dependencies.id = node.id();
    for (const std::uint64_t before : node.data_deps()) dependencies.before.push_back(before);
    for (const std::uint64_t before : node.ctrl_deps()) dependencies.before.push_back(before);
    file.tags.push_back(tag);
    plan_.programs.back().ops.push_back(std::move(op));
  }

  static std::string type_name(int type) {
    const std::string& name = chakra::NodeType_Name(type);
    return name.empty() ? std::to_string(type) : name;
  }

  void set_kernel(const NodeReader& reader, Op& op) {
    op.kind = OpKind::Compute;
    op.stream = Stream::Compute;
    op.purpose = Purpose::Kernel;
    const Seconds time = reader.duration();
    if (time > Seconds(0))
      has_time_ = true;
    else if (reader.integer("num_ops").value_or(0) > 0 && work_without_time_ < 0)
      work_without_time_ = int(plan_.programs.back().ops.size());
    const auto [known, is_new] = block_of_time_.try_emplace(time.value, int(plan_.blocks.size()));
    if (is_new) {
      const Work work{.op = OpClass::Fixed, .kernels = 0, .duration = time};
      plan_.blocks.push_back({BlockPiece{.piece = {"kernel", work}, .layer = -1}});
    }
    op.block = known->second;
  }

  void set_collective(const NodeReader& reader, int rank, Op& op) {
    op.kind = OpKind::Collective;
    op.purpose = Purpose::Collective;
    const std::int64_t type = reader.needed("comm_type");
    const auto kind = kind_of(type);
    if (!kind) {
      const bool is_known = type >= 0 && type <= chakra::BARRIER;
      reader.refuse(fmt::format(
          "comm_type {} is not simulated",
          is_known ? chakra::CollectiveCommType_Name(int(type)) : std::to_string(type)));
    }
    op.collective = *kind;
    const int group = groups_.index_of(reader.text("pg_name"));
    op.group = {GroupKind::Listed, group};
    const std::vector<int>& members = groups_.listed[std::size_t(group)];
    if (std::find(members.begin(), members.end(), rank) == members.end())
      reader.refuse(
          fmt::format("rank {} is not in process group '{}'", rank, shown(reader.text("pg_name"))));
    op.bytes = reader.size(*kind == CollectiveKind::AllGather ? double(members.size()) : 1);
  }

  // Returns the tag.
  int set_message(const NodeReader& reader, int rank, Op& op) {
    op.purpose = Purpose::Message;
    const bool is_send = op.kind == OpKind::Send;
    const std::int64_t own = reader.integer(is_send ? "comm_src" : "comm_dst").value_or(rank);
    const std::int64_t peer = reader.needed(is_send ? "comm_dst" : "comm_src");
    const std::int64_t tag = reader.integer("comm_tag").value_or(0);
    if (own != rank)
      reader.refuse(fmt::format("a message {} rank {} in the trace of rank {}",
                                is_send ? "from" : "to", own, rank));
    if (peer < 0 || peer >= ranks_ || peer == rank)
      reader.refuse(
          fmt::format("a message {} rank {} of {}", is_send ? "to" : "from", peer, ranks_));
    if (tag < 0 || tag > INT32_MAX) reader.refuse(fmt::format("comm_tag {}", tag));
    op.peer = int(peer);
    op.bytes = reader.size(1);
    return int(tag);
  }

  // What each op waits for: its dependencies, and the collective before it in its group.
  void connect(int rank) {
    const RankFile& file = files_[std::size_t(rank)];
    std::vector<Op>& ops = plan_.programs[std::size_t(rank)].ops;
    std::map<std::uint64_t, int> op_of_id;
    for (int op = 0; op < int(ops.size()); ++op)
      if (!op_of_id.try_emplace(file.nodes[std::size_t(op)].id, op).second)
        refuse({rank, op}, "a second node of this id");
    std::map<int, int> last_of_group;
    for (int op = 0; op < int(ops.size()); ++op) {
      Op& what = ops[std::size_t(op)];
      std::set<int> after;
      for (const std::uint64_t before : file.nodes[std::size_t(op)].before) {
        const auto found = op_of_id.find(before);
        if (found == op_of_id.end())
          refuse({rank, op}, fmt::format("waits for node {}, which is not in the file", before));
        after.insert(found->second);
      }
      if (what.kind == OpKind::Collective) {
        const auto [last, is_first] = last_of_group.try_emplace(what.group.listed, op);
        if (!is_first) after.insert(std::exchange(last->second, op));
      }
      what.after.assign(after.begin(), after.end());
    }
  }

  // The n-th message of a sender, receiver and tag is the n-th at both ends.
  void match_messages() {
    using Channel = std::tuple<int, int, int>;  // sender, receiver, tag
    std::map<Channel, std::vector<OpOfRank>> sends, receives;
    for (int rank = 0; rank < ranks_; ++rank)
      for (int op = 0; op < int(plan_.programs[std::size_t(rank)].ops.size()); ++op) {
        const Op& what = op_at({rank, op});
        const int tag = files_[std::size_t(rank)].tags[std::size_t(op)];
        if (what.kind == OpKind::Send) sends[{rank, what.peer, tag}].push_back({rank, op});
        if (what.kind == OpKind::Receive) receives[{what.peer, rank, tag}].push_back({rank, op});
      }
    std::vector<int> sent(std::size_t(ranks_), 0);
    for (const auto& [channel, list] : sends) {
      const std::vector<OpOfRank>& others = receives[channel];
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (i >= others.size()) refuse(list[i], "a message that nobody receives");
        number(list[i], others[i], sent[std::size_t(std::get<0>(channel))]++);
      }
    }
    for (const auto& [channel, list] : receives)
      if (const std::size_t known = sends[channel].size(); list.size() > known)
        refuse(list[known], "a message that nobody sends");
  }

  void number(OpOfRank send, OpOfRank receive, int number) {
    if (op_at(send).bytes != op_at(receive).bytes)
      refuse(receive, fmt::format("receives {:.0f} bytes, but rank {} sends {:.0f}",
                                  op_at(receive).bytes.value, send.rank, op_at(send).bytes.value));
    for (const OpOfRank at : {send, receive}) {
      Op& op = plan_.programs[std::size_t(at.rank)].ops[std::size_t(at.op)];
      op.stage = send.rank;
      op.micro_batch = number;
    }
  }

  // The n-th collective of a group is the same one on all its members.
  void match_collectives() const {
    std::map<int, std::map<int, std::vector<int>>> ops;  // by group and rank
    for (int rank = 0; rank < ranks_; ++rank)
      for (int op = 0; op < int(plan_.programs[std::size_t(rank)].ops.size()); ++op)
        if (const Op& what = op_at({rank, op}); what.kind == OpKind::Collective)
          ops[what.group.listed][rank].push_back(op);
    for (const auto& [group, by_rank] : ops) {
      const std::vector<int>& members = plan_.grid.listed[std::size_t(group)];
      const int first = by_rank.begin()->first;
      for (const int member : members) compare(by_rank, first, member);
      for (const auto& [rank, list] : by_rank) compare(by_rank, rank, first);
    }
  }

  void compare(const std::map<int, std::vector<int>>& by_rank, int rank, int other) const {
    const std::vector<int>& mine = by_rank.at(rank);
    const auto theirs = by_rank.find(other);
    for (std::size_t i = 0; i < mine.size(); ++i) {
      const OpOfRank at{rank, mine[i]};
      if (theirs == by_rank.end() || i >= theirs->second.size())
        refuse(at,
               fmt::format("a collective that rank {} of its group does not take part in", other));
      const Op &a = op_at(at), &b = op_at({other, theirs->second[i]});
      if (a.collective != b.collective || a.bytes != b.bytes)
        refuse(at, fmt::format("another collective than that of rank {} at this place of their "
                               "group, {} of {:.0f} bytes",
                               other, name_of(kCollectiveKindNames, b.collective), b.bytes.value));
    }
  }

  const std::string prefix_;
  const int ranks_;
  Groups groups_;
  std::vector<RankFile> files_;
  Plan plan_;
  std::map<double, int> block_of_time_;
  bool has_time_ = false;       // a kernel of the present file lasts
  int work_without_time_ = -1;  // its first kernel that says only how much it computes
};

}  // namespace

ChakraTraces read_chakra(const std::string& prefix, int ranks) {
  try {
    return {Reader(prefix, ranks).plan(), ""};
  } catch (const Problem& problem) {
    return {{}, problem.text};
  }
}

}  // namespace windtunnel

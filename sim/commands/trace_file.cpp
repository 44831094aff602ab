#include "commands/trace_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "commands/run_files.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Fits both a double and 64 bits exactly.
constexpr double kLongest = 9e15;

struct RankParts {
  bool is_named = false;
  bool is_links = false;  // the load of the links, not a rank
  TracedRank rank;
  std::map<int, TracedThread> threads;  // by number
};

// Takes the events as they are parsed: a trace need not fit into memory as JSON.
class Events {
 public:
  explicit Events(const fs::path& path) : path_(path) {}
  void add(const Json& event);
  TraceFile file();

 private:
  [[noreturn]] void refuse_event(const std::string& why) const;
  double number(const Json& object, const char* key) const;
  double number_or(const Json& object, const char* key, double fallback) const;
  std::string text(const Json& object, const char* key) const;
  int whole(const Json& object, const char* key) const;
  Picoseconds time(const Json& object, const char* key) const;
  const Json& arguments(const Json& event) const;
  RankParts& rank_of(const Json& event) { return ranks_[whole(event, "pid")]; }

  void add_name(const Json& event);
  void add_slice(const Json& event);
  void add_memory(const Json& event);
  int op_of(const Json& event);

  fs::path path_;
  std::size_t count_ = 0;
  std::map<int, RankParts> ranks_;
  std::map<std::tuple<std::string, std::string, std::string, double>, int> op_numbers_;
  std::vector<TracedOp> ops_;
};

void Events::refuse_event(const std::string& why) const {
  refuse_file(path_, fmt::format("event {}: {}", count_, why));
}

double Events::number_or(const Json& object, const char* key, double fallback) const {
  const auto found = object.find(key);
  if (found == object.end()) return fallback;
  if (!found->is_number()) refuse_event(fmt::format("'{}' is not a number", key));
  const double value = found->get<double>();
  if (!(std::abs(value) < kLongest)) refuse_event(fmt::format("'{}' is too large", key));
  return value;
}

double Events::number(const Json& object, const char* key) const {
  if (!object.contains(key)) refuse_event(fmt::format("no '{}'", key));
  return number_or(object, key, 0);
}

std::string Events::text(const Json& object, const char* key) const {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) refuse_event(fmt::format("no text '{}'", key));
  return found->get<std::string>();
}

int Events::whole(const Json& object, const char* key) const {
  const double value = number(object, key);
  constexpr double kMost = 2e9;
  if (value < 0 || value > kMost || value != std::floor(value))
    refuse_event(fmt::format("'{}' is not a whole number", key));
  return int(value);
}

Picoseconds Events::time(const Json& object, const char* key) const {
  constexpr double kPerMicrosecond = 1e6;
  const double ps = number_or(object, key, 0) * kPerMicrosecond;
  if (ps < 0 || ps > kLongest) refuse_event(fmt::format("'{}' is no time of a step", key));
  return std::llround(ps);
}

const Json& Events::arguments(const Json& event) const {
  const auto found = event.find("args");
  if (found == event.end() || !found->is_object()) refuse_event("no 'args'");
  return *found;
}

void Events::add(const Json& event) {
  ++count_;
  const std::string phase = text(event, "ph");
  if (phase == "M") return add_name(event);
  if (phase == "X") return add_slice(event);
  if (phase == "C") return add_memory(event);
}

void Events::add_name(const Json& event) {
  const std::string what = text(event, "name");
  RankParts& parts = rank_of(event);
  if (what == "thread_name") {
    parts.threads[whole(event, "tid")].name = text(arguments(event), "name");
  } else if (what == "process_name") {
    const std::string name = text(arguments(event), "name");
    parts.is_links = name == "links";
    if (parts.is_links) return;
    TracedRank& rank = parts.rank;
    const int found = std::sscanf(name.c_str(), "rank %9d (stage %9d) x%9d", &rank.rank,
                                  &rank.stage, &rank.represented);
    if (found < 2 || rank.stage < 0 || rank.represented < 1)
      refuse_event(
          fmt::format("'{}' is not the name of a rank, such as 'rank 8 (stage 1) x4'", name));
    parts.is_named = true;
  }
}

int Events::op_of(const Json& event) {
  const Json& args = arguments(event);
  TracedOp op{.name = text(event, "name"), .category = text(event, "cat")};
  if (op.category == "idle") op.category = op.name;
  if (args.contains("collective")) op.category = text(args, "collective");
  if (args.contains("layers")) op.layers = text(args, "layers");
  op.bytes = number_or(args, "bytes", 0);
  std::replace(op.category.begin(), op.category.end(), ' ', '_');
  const auto [at, is_new] =
      op_numbers_.try_emplace({op.name, op.category, op.layers, op.bytes}, int(ops_.size()));
  if (is_new) ops_.push_back(std::move(op));
  return at->second;
}

void Events::add_slice(const Json& event) {
  const Json& args = arguments(event);
  TracedSlice slice{.op = op_of(event), .start = time(event, "ts")};
  slice.end = slice.start + time(event, "dur");
  slice.communication = time(args, "tensor_communication_us");
  slice.recompute = time(args, "recompute_us");
  RankParts& parts = rank_of(event);
  if (text(event, "cat") == "idle") return parts.rank.idle.push_back(slice);
  parts.threads[whole(event, "tid")].slices.push_back(slice);
}

void Events::add_memory(const Json& event) {
  if (text(event, "name") != "memory_bytes") return;
  TracedMemory memory{.time = time(event, "ts")};
  for (std::size_t kind = 0; kind < memory.bytes.size(); ++kind)
    memory.bytes[kind] = number_or(arguments(event), kMemoryKindNames[kind].data(), 0);
  rank_of(event).rank.memory.push_back(memory);
}

TraceFile Events::file() {
  TraceFile file{.ops = std::move(ops_)};
  const auto in_order = [](const auto& a, const auto& b) { return a.start < b.start; };
  for (auto& [number, parts] : ranks_) {
    if (parts.is_links) continue;
    if (!parts.is_named) refuse_file(path_, fmt::format("process {} has no process_name", number));
    std::stable_sort(parts.rank.idle.begin(), parts.rank.idle.end(), in_order);
    for (auto& [thread, content] : parts.threads) {
      if (content.slices.empty()) continue;  // the thread of the pauses
      std::stable_sort(content.slices.begin(), content.slices.end(), in_order);
      parts.rank.threads.push_back(std::move(content));
    }
    file.ranks.push_back(std::move(parts.rank));
  }
  if (file.ranks.empty()) refuse_file(path_, "no events");
  return file;
}

}  // namespace

double TracedMemory::total() const {
  double sum = 0;
  for (const double each : bytes) sum += each;
  return sum;
}

TraceFile trace_file(const fs::path& path) {
  const std::string content = content_or_refuse(path);
  Events events(path);
  constexpr int kEventDepth = 2;  // { "traceEvents": [ here
  const auto take = [&](int depth, Json::parse_event_t what, Json& parsed) {
    if (what != Json::parse_event_t::object_end || depth != kEventDepth) return true;
    events.add(parsed);
    return false;
  };
  const Json rest = Json::parse(content, take, false);
  if (!rest.is_object() || !rest.contains("traceEvents"))
    refuse_file(path, "not a trace.json of windtunnel simulate: no traceEvents");
  return events.file();
}

}  // namespace windtunnel

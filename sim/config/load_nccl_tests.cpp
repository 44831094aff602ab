// Text that a program of nccl-tests has printed: comments say who took part, rows say how long
// which size took.
//
//     # nThread 1 nGpus 1 minBytes 8 ...
//     #  Rank  0 Group  0 Pid   4711 on   node-1 device  0 [0x07] NVIDIA A100-SXM4-80GB
//     #       size         count      type   redop    root     time   algbw   busbw #wrong ...
//             1024           256     float     sum      -1    22.26    0.05    0.08      0 ...
//
// A row ends in time (us), algbw, busbw and #wrong twice, out of place and in place.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "config/loaders.hpp"
#include "config/yaml_text.hpp"

namespace windtunnel {
namespace {

struct Program {
  std::string_view name;               // without "_perf"
  std::optional<CollectiveKind> kind;  // none: a message
  // Frameworks reduce gradients in place; the others read one buffer and write another.
  bool in_place = false;
};
constexpr Program kPrograms[] = {
    {"all_reduce", CollectiveKind::AllReduce, true},   {"all_gather", CollectiveKind::AllGather},
    {"reduce_scatter", CollectiveKind::ReduceScatter}, {"alltoall", CollectiveKind::AllToAll},
    {"broadcast", CollectiveKind::Broadcast},          {"sendrecv", std::nullopt}};

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

class NcclTest {
 public:
  explicit NcclTest(const std::string& path) : source_{path, "", {}} {
    std::ifstream file(path, std::ios::binary);
    std::string text(kLargestFile + 1, '\0');
    file.read(text.data(), std::streamsize(text.size()));
    if (!file.is_open() || file.bad())
      throw ConfigError(fmt::format("{}: error: cannot read the file", path));
    text.resize(std::size_t(file.gcount()));
    source_.lines = lines_of(text);
    refuse_binary(source_, text);
    for (line_ = 0; line_ < int(source_.lines.size()); ++line_) read_line();
    // The name of the file tells what older versions do not print.
    if (program_ == nullptr) find_program(std::filesystem::path(path).filename().string());
    const auto refuse = [&](std::string_view what) {
      throw ConfigError(fmt::format("{}: error: this is no output of nccl-tests: {}", path, what));
    };
    if (rows_.empty()) refuse("it has no rows of sizes and times");
    if (ranks_ < 2) refuse("it names fewer than two ranks");
    if (program_ == nullptr)
      refuse(
          "neither its text nor its name says which program printed it ('all_reduce_perf', say)");
  }

  void add_to(Profile& profile) const {
    MeasuredCurve curve;
    for (const Row& row : rows_) {
      const double time = program_->in_place ? row.in_place : row.out_of_place;
      const double other = program_->in_place ? row.out_of_place : row.in_place;
      curve.points.push_back({row.size, {Seconds(time), std::abs(other - time) / time}});
    }
    const auto nodes = std::max(1, int(hosts_.size()));
    const auto refuse_second = [&](bool is_second) {
      if (is_second)
        throw ConfigError(
            fmt::format("{}: error: a file before this one measured the same", source_.name));
    };
    if (program_->kind) {
      for (const CollectiveTime& other : profile.collectives)
        refuse_second(other.kind == *program_->kind && other.ranks == ranks_ &&
                      other.nodes == nodes);
      profile.collectives.push_back(
          {*program_->kind, CollectivePurpose::Plain, ranks_, nodes, curve});
    } else {
      for (const MessageTime& other : profile.messages)
        refuse_second(other.nodes == std::min(nodes, 2));
      profile.messages.push_back({std::min(nodes, 2), curve});
    }
    profile.hardware = device_;
  }

 private:
  struct Row {
    double size, out_of_place, in_place;  // bytes, seconds
  };

  void find_program(const std::string& text) {
    for (const Program& program : kPrograms)
      if (text.find(std::string(program.name) + "_perf") != std::string::npos) program_ = &program;
  }

  void read_line() {
    const std::string& line = source_.lines[std::size_t(line_)];
    const std::vector<std::string> words = words_of(line);
    if (words.empty()) return;
    if (words[0] == "#")
      read_comment(line, words);
    else if (words.size() >= kRowEnd + 3 &&
             words[0].find_first_not_of("0123456789") == std::string::npos)
      read_row(words);
  }

  void read_comment(const std::string& line, const std::vector<std::string>& words) {
    find_program(line);
    if (words.size() < 2 || words[1] != "Rank") return;
    ++ranks_;
    const auto on = std::find(words.begin(), words.end(), "on");
    if (on == words.end() || on + 1 == words.end()) return;
    hosts_.insert(*(on + 1));
    // "device 0 [0x07] NVIDIA A100-SXM4-80GB"
    if (std::distance(on, words.end()) > 5)
      device_ = fmt::format("{}", fmt::join(on + 5, words.end(), " "));
  }

  void read_row(const std::vector<std::string>& words) {
    const std::size_t last = words.size();
    const Row row = {number(words[0]), 1e-6 * number(words[last - kRowEnd]),
                     1e-6 * number(words[last - kRowEnd / 2])};
    if (row.size <= 0) return;  // sizes below a rank's element
    if (row.out_of_place <= 0 || row.in_place <= 0) refuse(words[last - kRowEnd], "takes no time");
    if (!rows_.empty() && row.size <= rows_.back().size)
      refuse(words[0], "the sizes of a run must increase");
    rows_.push_back(row);
  }

  double number(const std::string& word) const {
    std::string_view rest = word;
    double value = 0;
    if (!read_number(rest, value) || !rest.empty()) refuse(word, "expected a number");
    return value;
  }

  [[noreturn]] void refuse(const std::string& word, const std::string& why) const {
    const std::string& line = source_.lines[std::size_t(line_)];
    fail_at(source_, line_, int(line.find(word)), fmt::format("'{}': {}", shortened(word), why));
  }

  static constexpr std::size_t kRowEnd = 8;  // words from the first time to the end
  YamlSource source_;
  int line_ = 0;
  const Program* program_ = nullptr;
  int ranks_ = 0;
  std::set<std::string> hosts_;
  std::string device_ = "not named";
  std::vector<Row> rows_;
};

}  // namespace

Profile load_nccl_tests(const std::vector<std::string>& paths) {
  Profile profile{.name = "nccl-tests", .source = "nccl-tests", .date = "not named"};
  profile.software = "NCCL, version not named";
  for (const std::string& path : paths) {
    NcclTest(path).add_to(profile);
  }
  return profile;
}

}  // namespace windtunnel

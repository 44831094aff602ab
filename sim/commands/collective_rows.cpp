// Reads tables of collective measurements and predicts every row with the engine.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <tuple>

#include "cluster/cluster.hpp"
#include "commands/csv.hpp"
#include "commands/files.hpp"
#include "commands/validate_collectives.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"

namespace windtunnel {
namespace {

constexpr std::array<std::string_view, 13> kNeeded = {
    "collective", "system", "gpu",        "gpus_per_node", "nodes",      "ranks",     "lib",
    "algo",       "note",   "size_bytes", "time_us",       "algbw_GBps", "intra_link"};

using Cells = std::map<std::string, std::string, std::less<>>;

[[noreturn]] void fail(const std::string& name, int line, const std::string& why) {
  throw ConfigError(fmt::format("{}:{}: error: {}", name, line, why));
}

double number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value > 0 ? value : 0;
}

int count_of(const Cells& cells, std::string_view column) {
  constexpr double kMost = 1 << 20;
  const double value = number_of(cells.find(column)->second);
  return value >= 1 && value <= kMost && value == std::floor(value) ? int(value) : 0;
}

std::optional<CollectiveKind> kind_of(const std::string& name) {
  return name == "alltoall" ? CollectiveKind::AllToAll
                            : enum_from<CollectiveKind>(kCollectiveKindNames, name);
}

// Seconds of the row; where it has none, from the algorithm bandwidth, bytes over time.
double measured_seconds(const Cells& cells, double bytes) {
  if (const double time = number_of(cells.find("time_us")->second); time > 0) return time / 1e6;
  const double rate = number_of(cells.find("algbw_GBps")->second);
  return rate > 0 ? bytes / (rate * 1e9) : 0;
}

// A job of one data-parallel group on the measured system, to be loaded with the usual checks.
struct SweepJob {
  std::string text;
  std::vector<std::string> overrides;
  auto operator<=>(const SweepJob&) const = default;
};

SweepJob sweep_job(const Rule& rule, const Rules& rules, int gpus_per_node, int nodes, int ranks) {
  SweepJob job;
  if (const std::string file = rule["gpu"]; !file.empty()) {
    const auto folder = std::filesystem::path(rules.path).parent_path();
    job.overrides.push_back("cluster.nodes.0.type.gpu=" +
                            (folder / file).lexically_normal().string());
  }
  for (const std::string& change : rule.set)
    job.overrides.push_back("cluster.nodes.0.type." + change);
  job.overrides.push_back(fmt::format("cluster.nodes.0.type.gpus={}", gpus_per_node));
  const std::string fabric = nodes > 1 ? ", fabric: " + rule["fabric"] : "";
  job.text = fmt::format(
      "model: {{name: sweep, family: synthetic, parameters: 1, layers: 1, forward: 1 us, "
      "backward_input: 1 us, backward_weight: 1 us, message: 1 B, activation: 1 B, "
      "layer_bytes: 4 B}}\n"
      "cluster: {{name: measured, nodes: [{{type: {}, count: {}}}]{}, "
      "communication: {{model: nccl}}}}\n"
      "gpus: {}\nparallel: {{data: {}}}\nbatch: {{global: {}, micro: 1}}\n",
      rule["node"], nodes, fabric, ranks, ranks, ranks);
  return job;
}

// One after another, each alone on the machine.
std::vector<double> predicted_seconds(const Job& job, CollectiveKind kind,
                                      const std::vector<double>& sizes) {
  Plan plan;
  plan.grid = {.tensor = 1, .data = job.gpus, .pipeline = 1};
  plan.grid.shard_ranks = job.gpus;
  Program program;
  for (const double bytes : sizes)
    program.ops.push_back({.kind = OpKind::Collective,
                           .stream = Stream::Compute,
                           .purpose = Purpose::GradientReduction,
                           .group = GroupKind::Data,
                           .collective = kind,
                           .bytes = Bytes(bytes)});
  plan.programs = {program};
  const Trace trace = simulate(plan, build_cluster(job.cluster, job.gpus), {});
  std::vector<double> seconds(sizes.size());
  for (const Span& span : trace.ranks.front().spans)
    seconds[std::size_t(span.op)] = (span.end - span.start).value;
  return seconds;
}

CollectiveRow read_row(const Cells& cells, const std::string& path, int line) {
  const auto text = [&](std::string_view column) { return cells.find(column)->second; };
  CollectiveRow row;
  row.table = std::filesystem::path(path).stem().string();
  const auto id = cells.find("row_id");
  row.name = id == cells.end() ? fmt::format("line {}", line) : id->second;
  row.system = text("system");
  const auto kind = kind_of(text("collective"));
  if (kind) row.kind = *kind;
  row.nodes = std::max(1, count_of(cells, "nodes"));
  row.ranks = count_of(cells, "ranks");
  row.bytes = number_of(text("size_bytes"));
  row.seconds.published = measured_seconds(cells, row.bytes);
  if (!kind)
    row.refusal = "no such collective: " + text("collective");
  else if (row.bytes == 0 || row.seconds.published == 0)
    row.refusal = "no time measured";
  else if (row.ranks < 2)
    row.refusal = "ranks not stated";
  else if (row.ranks % row.nodes != 0)
    row.refusal = "nodes of different sizes";
  return row;
}

// The rows of a table with their lines, cells by column.
std::vector<std::pair<int, Cells>> read_cells(const std::string& path) {
  const std::string content = content_of(path).value_or("");
  std::string_view rest = content;
  std::vector<std::pair<int, Cells>> rows;
  CsvRow header;
  for (int line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view here = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (here.ends_with('\r')) here.remove_suffix(1);
    if (here.empty() || here.starts_with('#')) continue;
    const CsvRow fields = csv_fields(here);
    if (header.empty()) {
      header = fields;
      for (const std::string_view column : kNeeded)
        if (std::find(header.begin(), header.end(), column) == header.end())
          fail(path, line, fmt::format("missing column '{}'", column));
      continue;
    }
    if (fields.size() != header.size())
      fail(path, line,
           fmt::format("{} fields, but the header has {}", fields.size(), header.size()));
    Cells& cells = rows.emplace_back(line, Cells{}).second;
    for (std::size_t i = 0; i < header.size(); ++i) cells[header[i]] = fields[i];
  }
  return rows;
}

// How the row's system is built, or null with the row's refusal set.
const Rule* system_rule(const Cells& cells, const Rules& rules, CollectiveRow& row) {
  std::string cell;
  for (const char* column : {"system", "gpu", "lib", "algo", "note"})
    cell += (cell.empty() ? "" : " | ") + cells.find(column)->second;
  const Rule* rule = rules.find("collective_systems", cell);
  row.refusal = rule ? (*rule)["reason"] : "no rule for the system";
  return row.refusal.empty() ? rule : nullptr;
}

// The left-out fit: for a row, the mean ratio of measured to predicted seconds of the other systems
// in the same cell of collective, nodes (one or several) and decade of size; every system counts
// once.
void add_fits(std::vector<CollectiveRow>& rows) {
  struct Sum {
    double logs = 0;
    int rows = 0;
    double mean() const { return logs / rows; }
  };
  using Cell = std::tuple<CollectiveKind, bool, int>;
  const auto cell_of = [](const CollectiveRow& row) {
    return Cell{row.kind, row.nodes > 1, int(std::log10(row.bytes))};
  };
  std::map<Cell, std::map<std::string, Sum>> cells;
  for (const CollectiveRow& row : rows) {
    if (!row.refusal.empty()) continue;
    Sum& sum = cells[cell_of(row)][row.system];
    sum.logs += std::log(row.seconds.published / row.seconds.predicted);
    ++sum.rows;
  }
  for (CollectiveRow& row : rows) {
    if (!row.refusal.empty()) continue;
    double logs = 0;
    int systems = 0;
    for (const auto& [system, sum] : cells[cell_of(row)])
      if (system != row.system) {
        logs += sum.mean();
        ++systems;
      }
    if (systems > 0) row.fitted = row.seconds.predicted * std::exp(logs / systems);
  }
}

}  // namespace

bool is_collective_table(const std::string& path) {
  const auto content = content_of(path);
  if (!content) return false;
  const CsvRow header = csv_fields(content->substr(0, content->find('\n')));
  return std::find(header.begin(), header.end(), "collective") != header.end();
}

// Rows of one system and kind are one run; its sizes follow one another.
std::vector<CollectiveRow> collective_rows(const std::vector<std::string>& files,
                                           const Rules& rules) {
  std::vector<CollectiveRow> rows;
  std::map<std::pair<SweepJob, CollectiveKind>, std::vector<std::size_t>> runs;
  for (const std::string& path : files)
    for (const auto& [line, cells] : read_cells(path)) {
      CollectiveRow row = read_row(cells, path, line);
      const Rule* rule = row.refusal.empty() ? system_rule(cells, rules, row) : nullptr;
      if (rule)
        runs[{sweep_job(*rule, rules, row.ranks / row.nodes, row.nodes, row.ranks), row.kind}]
            .push_back(rows.size());
      rows.push_back(std::move(row));
    }
  for (const auto& [run, members] : runs) {
    std::vector<double> sizes;
    for (const std::size_t row : members) sizes.push_back(rows[row].bytes);
    const Job job = load_job_text(run.first.text, rules.path, run.first.overrides);
    const std::vector<double> seconds = predicted_seconds(job, run.second, sizes);
    for (std::size_t i = 0; i < members.size(); ++i)
      rows[members[i]].seconds.predicted = seconds[i];
  }
  add_fits(rows);
  return rows;
}

}  // namespace windtunnel

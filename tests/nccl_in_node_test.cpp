// Collectives inside a node against measured ones, and the factors of nccl_measured.cpp against
// what they say they are.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "catch.hpp"
#include "collectives/nccl_measured.hpp"
#include "config/load.hpp"
#include "measured_rows.hpp"

namespace windtunnel {
namespace {

struct Measured {
  std::string arch, system, collective;
  int ranks = 0;
  double bytes = 0, seconds = 0;
  CollectiveKind kind() const {
    return collective == "all_reduce"       ? CollectiveKind::AllReduce
           : collective == "all_gather"     ? CollectiveKind::AllGather
           : collective == "reduce_scatter" ? CollectiveKind::ReduceScatter
                                            : CollectiveKind::AllToAll;
  }
};

std::vector<Measured> measurements() {
  std::vector<Measured> all;
  for (const CsvRow& row : measured_rows("nccl_in_node.csv"))
    all.push_back({.arch = row.at(0),
                   .system = row.at(1),
                   .collective = row.at(2),
                   .ranks = std::stoi(row.at(3)),
                   .bytes = std::stod(row.at(4)),
                   .seconds = std::stod(row.at(5)) * 1e-6});
  return all;
}

NcclGraph graph_of(const std::string& arch) {
  NcclGraph graph{.arch = NcclArch::Ampere,
                  .channels = 12,
                  .channel_intra = Rate(20e9),
                  .channel_inter = Rate(24e9)};  // topologies/nodes/dgx-a100.yaml
  if (arch == "hopper") {
    graph.arch = NcclArch::Hopper;
    graph.channel_intra = Rate(30e9);  // dgx-h100.yaml
    graph.channel_inter = Rate(48e9);
    graph.nvls = true;
  } else if (arch == "blackwell") {
    graph.arch = NcclArch::Blackwell;
    graph.channels = 16;
    graph.channel_intra = Rate(45e9);  // hgx-b200.yaml
    graph.channel_inter = Rate(48e9);
    graph.nvls = true;
  }
  return graph;
}

// Without the factor. All-to-all: n-1 rounds of a pair each, at 0.8 of NVLink's rate after the
// 1.9 us of a hop (topologies/nodes).
double modelled(const Measured& row) {
  const NcclGraph graph = graph_of(row.arch);
  const Bytes size(row.bytes);
  if (row.kind() == CollectiveKind::AllToAll) {
    const double link = 0.8 * (row.arch == "hopper" ? 450e9 : 900e9);
    return (row.ranks - 1) * (1.9e-6 + row.bytes / row.ranks / link);
  }
  const NcclCost cost = measured_cost(nccl_choice(graph, row.kind(), row.ranks, 1, size), graph,
                                      row.kind(), row.ranks, 1, size);
  return cost.time(size).value / measured_over_model(graph, row.kind(), row.ranks, 1, size);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

constexpr std::array<double, 8> kSizes = {1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9, 1e10};

}  // namespace

TEST_CASE("the factors inside a node are medians of what systems measured", "[nccl]") {
  // The sum of log(measured / modelled) and the rows of each system, by the cell of the table.
  // All-gathers and reduce-scatters are one table.
  using Cell = std::tuple<std::string, CollectiveKind, int, double>;
  std::map<Cell, std::map<std::string, std::pair<double, int>>> cells;
  for (const Measured& row : measurements()) {
    const CollectiveKind kind =
        row.kind() == CollectiveKind::ReduceScatter ? CollectiveKind::AllGather : row.kind();
    for (const double size : kSizes)
      if (row.bytes >= size / 1.75 && row.bytes < size * 1.75) {
        auto& [sum, count] = cells[{row.arch, kind, row.ranks, size}][row.system];
        sum += std::log(row.seconds / modelled(row));
        ++count;
      }
  }
  CHECK(cells.size() > 100);
  for (const auto& [cell, systems] : cells) {
    const auto& [arch, kind, ranks, size] = cell;
    std::vector<double> means;
    for (const auto& [system, sum] : systems) means.push_back(std::exp(sum.first / sum.second));
    INFO(arch << " " << name_of(kCollectiveKindNames, kind) << " " << ranks << " " << size);
    CHECK(measured_over_model(graph_of(arch), kind, ranks, 1, Bytes(size)) ==
          Approx(median(means)).margin(0.02));
  }
}

TEST_CASE("collectives inside a node as measured", "[nccl]") {
  std::map<std::string, std::pair<double, int>> with, without;
  for (const Measured& row : measurements()) {
    const double factor =
        measured_over_model(graph_of(row.arch), row.kind(), row.ranks, 1, Bytes(row.bytes));
    const double model = modelled(row);
    const auto add = [&](auto& errors, double predicted) {
      errors[row.collective].first += std::abs(predicted / row.seconds - 1);
      ++errors[row.collective].second;
    };
    add(with, factor * model);
    add(without, model);
  }
  REQUIRE(with.size() == 4);
  for (const auto& [collective, sum] : with) {
    INFO(collective << " " << sum.first / sum.second);
    CHECK(sum.first / sum.second < 0.11);
    const auto& plain = without[collective];
    CHECK(plain.first / plain.second > 0.2);
  }
}

}  // namespace windtunnel

#include "collectives/nccl_measured.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>

namespace windtunnel {
namespace {

// Sizes of the columns below, in bytes.
constexpr std::array<double, 8> kSizes = {1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9, 1e10};

struct Row {
  NcclArch arch;
  int ranks;
  std::array<double, 8> factors;
};

// Medians over the systems of tests/data/nccl_in_node.csv, each the geometric mean of its rows
// within a factor of 1.75 of the column's size. Where no system has a row, the column before. Below
// the first column rows differ by who launches (1.1 to 3.8), so that the first factor stays.
constexpr std::array<Row, 9> kAllReduce = {{
    {NcclArch::Ampere, 2, {2.26, 2.03, 1.66, 1.45, 1.34, 1.28, 1.22, 1.22}},
    {NcclArch::Ampere, 4, {1.83, 1.41, 1.40, 1.18, 1.17, 1.12, 1.08, 1.08}},
    {NcclArch::Ampere, 8, {2.71, 1.50, 1.33, 1.26, 1.17, 1.13, 1.04, 1.02}},
    {NcclArch::Hopper, 2, {0.96, 1.27, 1.29, 1.51, 1.54, 1.52, 1.52, 1.52}},
    {NcclArch::Hopper, 4, {0.85, 0.98, 1.25, 1.34, 1.39, 1.37, 1.34, 1.31}},
    {NcclArch::Hopper, 8, {0.94, 1.27, 1.45, 1.36, 1.17, 1.09, 1.03, 1.00}},
    {NcclArch::Blackwell, 2, {1.25, 1.47, 1.46, 1.34, 1.35, 1.39, 1.39, 1.39}},
    {NcclArch::Blackwell, 4, {1.21, 1.13, 1.85, 1.35, 1.18, 1.20, 1.20, 1.20}},
    {NcclArch::Blackwell, 8, {1.40, 1.33, 1.61, 1.69, 1.37, 1.13, 1.05, 0.91}},
}};
// All-gather, reduce-scatter and broadcast. On Ampere not measured: the all-reduce's, a ring too.
constexpr std::array<Row, 6> kRings = {{
    {NcclArch::Hopper, 2, {1.00, 1.25, 1.50, 1.62, 1.54, 1.47, 1.47, 1.47}},
    {NcclArch::Hopper, 4, {0.90, 1.09, 1.16, 1.21, 1.20, 1.16, 1.11, 1.03}},
    {NcclArch::Hopper, 8, {0.91, 0.85, 0.93, 1.03, 1.06, 1.06, 1.03, 0.99}},
    {NcclArch::Blackwell, 2, {1.35, 1.46, 1.62, 1.54, 1.67, 1.68, 1.68, 1.68}},
    {NcclArch::Blackwell, 4, {1.29, 1.28, 1.68, 1.32, 1.23, 1.25, 1.25, 1.25}},
    {NcclArch::Blackwell, 8, {1.37, 1.25, 1.53, 1.50, 1.13, 1.10, 1.10, 1.10}},
}};
// On Ampere not measured: as the links allow.
constexpr std::array<Row, 6> kAllToAll = {{
    {NcclArch::Hopper, 2, {4.42, 3.00, 2.25, 1.68, 1.44, 1.33, 1.33, 1.33}},
    {NcclArch::Hopper, 4, {1.96, 1.70, 1.66, 1.45, 1.25, 1.18, 1.06, 1.01}},
    {NcclArch::Hopper, 8, {0.99, 1.07, 1.30, 1.32, 1.22, 1.15, 1.15, 1.15}},
    {NcclArch::Blackwell, 2, {6.37, 4.90, 3.66, 2.52, 2.49, 2.23, 2.23, 2.23}},
    {NcclArch::Blackwell, 4, {2.59, 2.36, 2.08, 1.81, 1.61, 1.50, 1.50, 1.50}},
    {NcclArch::Blackwell, 8, {1.26, 1.35, 1.47, 1.55, 1.39, 1.29, 1.29, 1.29}},
}};

// 482 GB/s bus bandwidth of 8 x H100 and 8 x H200 (xxrjun/nccl-tests-cluster @455de4f,
// stas00/ml-engineering @744d01e) over the 561 that the model's efficiency of 0.85 gives. On
// Blackwell the model's 0.74 is measured: 846 GB/s.
constexpr double kHopperNvls = 0.86;

// How far `at` is from `low` to `high`, in the logarithm.
double way(double low, double high, double at) {
  return high == low ? 0 : std::clamp(std::log(at / low) / std::log(high / low), 0.0, 1.0);
}

double factor_at(const Row& row, double bytes) {
  const auto high = std::clamp<std::ptrdiff_t>(
      std::upper_bound(kSizes.begin(), kSizes.end(), bytes) - kSizes.begin(), 1,
      std::ssize(kSizes) - 1);
  const std::size_t up = std::size_t(high), down = up - 1;
  return std::lerp(row.factors[down], row.factors[up], way(kSizes[down], kSizes[up], bytes));
}

// Between the rows around `ranks`, or that of the nearest; nothing where the card has none.
std::optional<double> factor_in(std::span<const Row> rows, NcclArch arch, int ranks, double bytes) {
  const Row *low = nullptr, *high = nullptr;
  for (const Row& row : rows) {
    if (row.arch != arch) continue;
    if (!low || row.ranks <= ranks) low = &row;
    if (!high || high->ranks < ranks) high = &row;
  }
  if (!low || !high) return std::nullopt;
  return std::lerp(factor_at(*low, bytes), factor_at(*high, bytes),
                   way(low->ranks, high->ranks, ranks));
}

}  // namespace

double measured_over_model(const NcclGraph& graph, CollectiveKind kind, int ranks, int nodes,
                           Bytes size) {
  if (nodes > 1 || graph.intra != NcclLink::NvLink) return 1;
  // Volta as Ampere; its one system ran beside other jobs.
  const NcclArch arch = graph.arch == NcclArch::Volta ? NcclArch::Ampere : graph.arch;
  const auto in = [&](std::span<const Row> rows) {
    return factor_in(rows, arch, ranks, size.value);
  };
  if (kind == CollectiveKind::AllToAll) return in(kAllToAll).value_or(1);
  const double all_reduce = in(kAllReduce).value_or(1);
  return kind == CollectiveKind::AllReduce ? all_reduce : in(kRings).value_or(all_reduce);
}

NcclCost measured_cost(NcclCost model, const NcclGraph& graph, CollectiveKind kind, int ranks,
                       int nodes, Bytes size) {
  const bool is_inside = nodes == 1 && graph.intra == NcclLink::NvLink;
  if (is_inside && model.algorithm == NcclAlgorithm::Nvls && graph.arch == NcclArch::Hopper)
    model.algorithm_bandwidth = kHopperNvls * model.algorithm_bandwidth;
  const double factor = measured_over_model(graph, kind, ranks, nodes, size);
  model.latency = factor * model.latency;
  model.algorithm_bandwidth = model.algorithm_bandwidth / factor;
  return model;
}

}  // namespace windtunnel

#include "commands/validate_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.hpp"

namespace windtunnel {
namespace {

// 1-based; equal values share the mean of their ranks.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    for (std::size_t i = first; i < last; ++i) result[order[i]] = double(first + 1 + last) / 2;
    first = last;
  }
  return result;
}

// Solves the normal equations for the terms in `used`; a pivot that vanishes drops its term.
std::vector<double> solved(const std::vector<std::vector<double>>& rows,
                           std::span<const double> target, const std::vector<bool>& used) {
  const std::size_t terms = used.size();
  std::vector<std::vector<double>> a(terms, std::vector<double>(terms + 1, 0));
  for (std::size_t row = 0; row < rows.size(); ++row)
    for (std::size_t i = 0; i < terms; ++i) {
      if (!used[i]) continue;
      for (std::size_t j = 0; j < terms; ++j)
        if (used[j]) a[i][j] += rows[row][i] * rows[row][j];
      a[i][terms] += rows[row][i] * target[row];
    }
  std::vector<double> diagonal(terms);
  for (std::size_t i = 0; i < terms; ++i) diagonal[i] = a[i][i];
  std::vector<bool> pivoted(terms, false);
  constexpr double kVanishing = 1e-10;
  for (std::size_t i = 0; i < terms; ++i) {
    if (a[i][i] <= kVanishing * diagonal[i]) continue;
    pivoted[i] = true;
    for (std::size_t k = 0; k < terms; ++k) {
      if (k == i) continue;
      const double factor = a[k][i] / a[i][i];
      for (std::size_t j = i; j <= terms; ++j) a[k][j] -= factor * a[i][j];
    }
  }
  std::vector<double> result(terms, 0);
  for (std::size_t i = 0; i < terms; ++i)
    if (pivoted[i]) result[i] = a[i][terms] / a[i][i];
  return result;
}

}  // namespace

double mean(std::span<const double> values) {
  SIM_CHECK(!values.empty(), "the mean of nothing");
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

double quantile(std::vector<double> values, double share) {
  SIM_CHECK(!values.empty(), "a quantile of nothing");
  std::sort(values.begin(), values.end());
  const double at = share * double(values.size() - 1);
  const auto below = std::size_t(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - double(below)) * (values[above] - values[below]);
}

std::optional<ErrorSummary> error_summary(std::span<const Pair> pairs) {
  if (pairs.empty()) return std::nullopt;
  std::vector<double> signed_errors, sizes;
  for (const Pair& pair : pairs) {
    signed_errors.push_back(pair.error());
    sizes.push_back(std::abs(pair.error()));
  }
  constexpr double kMedian = 0.5, kTail = 0.9;
  return ErrorSummary{.rows = pairs.size(),
                      .mape = mean(sizes),
                      .median = quantile(sizes, kMedian),
                      .p90 = quantile(sizes, kTail),
                      .worst = *std::max_element(sizes.begin(), sizes.end()),
                      .bias = mean(signed_errors)};
}

std::optional<double> spearman(std::span<const Pair> pairs) {
  if (pairs.size() < 3) return std::nullopt;
  std::vector<double> predicted, published;
  for (const Pair& pair : pairs) {
    predicted.push_back(pair.predicted);
    published.push_back(pair.published);
  }
  const std::vector<double> x = ranks(predicted), y = ranks(published);
  const double center = double(pairs.size() + 1) / 2;
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - center) * (y[i] - center);
    xx += (x[i] - center) * (x[i] - center);
    yy += (y[i] - center) * (y[i] - center);
  }
  if (xx == 0 || yy == 0) return std::nullopt;
  return xy / std::sqrt(xx * yy);
}

double regret(std::span<const Pair> pairs) {
  SIM_CHECK(!pairs.empty(), "no layout to choose");
  const auto by_prediction = [](const Pair& a, const Pair& b) { return a.predicted < b.predicted; };
  const auto by_truth = [](const Pair& a, const Pair& b) { return a.published < b.published; };
  const Pair& picked = *std::min_element(pairs.begin(), pairs.end(), by_prediction);
  const Pair& best = *std::min_element(pairs.begin(), pairs.end(), by_truth);
  return picked.published / best.published - 1;
}

std::vector<double> least_squares(const std::vector<std::vector<double>>& rows,
                                  std::span<const double> target) {
  SIM_CHECK(!rows.empty() && rows.size() == target.size(), "rows and targets do not match");
  std::vector<bool> used(rows.front().size(), true);
  while (true) {
    std::vector<double> result = solved(rows, target, used);
    const auto least = std::min_element(result.begin(), result.end());
    if (least == result.end() || *least >= 0) return result;
    used[std::size_t(least - result.begin())] = false;
  }
}

}  // namespace windtunnel

// What a table of predictions is worth, in numbers.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace windtunnel {

// Predicted and published seconds of one row.
struct Pair {
  double predicted = 0, published = 0;
  double error() const { return predicted / published - 1; }
};

double mean(std::span<const double> values);
// Of sorted copies, with linear interpolation between ranks; `share` 0.5 is the median.
double quantile(std::vector<double> values, double share);

struct ErrorSummary {
  std::size_t rows = 0;
  double mape = 0, median = 0, p90 = 0, worst = 0;  // of |error|
  double bias = 0;                                  // mean of the signed error
};
// Nothing without rows.
std::optional<ErrorSummary> error_summary(std::span<const Pair> pairs);

// Rank correlation with ties at their mean rank; nothing below 3 pairs or where one side is all
// ties.
std::optional<double> spearman(std::span<const Pair> pairs);

// How much slower than the best layout the one is that the prediction calls best.
double regret(std::span<const Pair> pairs);

// Non-negative coefficients c that minimise the sum of (sum_j c_j rows[i][j] - target[i])^2: least
// squares, without the terms that would come out negative. Terms that are zero or a combination of
// others in all rows get 0.
std::vector<double> least_squares(const std::vector<std::vector<double>>& rows,
                                  std::span<const double> target);

}  // namespace windtunnel

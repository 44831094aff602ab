// The accuracy harness's statistics, on numbers worked out by hand.
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "commands/validate_null.hpp"
#include "commands/validate_residuals.hpp"
#include "commands/validate_run.hpp"
#include "commands/validate_statistics.hpp"
#include "commands/validate_summary.hpp"
#include "published_tables.hpp"

using namespace windtunnel;

TEST_CASE("errors are summarized as by hand") {
  // Errors +10 %, -20 %, 0, +50 %: mean 20 %, middle of 10 and 20, and 0.9 * 3 = 2.7 ranks up.
  const std::vector<Pair> pairs = {{1.1, 1}, {1.6, 2}, {3, 3}, {6, 4}};
  const auto errors = error_summary(pairs);
  REQUIRE(errors);
  CHECK(errors->mape == Approx(0.2));
  CHECK(errors->median == Approx(0.15));
  CHECK(errors->p90 == Approx(0.2 + 0.7 * 0.3));
  CHECK(errors->worst == Approx(0.5));
  CHECK(errors->bias == Approx(0.1));
  CHECK_FALSE(error_summary({}));
}

TEST_CASE("rank correlation shares ranks among ties") {
  const std::vector<Pair> same = {{1, 10}, {2, 20}, {3, 30}};
  const std::vector<Pair> reversed = {{3, 10}, {2, 20}, {1, 30}};
  CHECK(spearman(same) == Approx(1));
  CHECK(spearman(reversed) == Approx(-1));
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
  const std::vector<Pair> tied = {{1, 1}, {2, 2}, {2, 3}, {5, 4}};
  CHECK(spearman(tied) == Approx(4.5 / std::sqrt(4.5 * 5)));
  const std::vector<Pair> all_tied = {{1, 1}, {1, 2}, {1, 3}}, few = {{1, 1}, {2, 2}};
  CHECK_FALSE(spearman(all_tied));
  CHECK_FALSE(spearman(few));
}

TEST_CASE("regret is what the picked layout costs over the best") {
  // The prediction picks the second, which takes 12; the best takes 10.
  const std::vector<Pair> pairs = {{5, 10}, {4, 12}, {9, 30}};
  CHECK(regret(pairs) == Approx(0.2));
}

TEST_CASE("schedules are compared by the ratio of their times where nothing else differs") {
  Validation validation{.tables = {"t"}, .rows = {}};
  const auto add = [&](const char* schedule, const char* micro_batch, double predicted,
                       double published) {
    ValidatedRow& row = validation.rows.emplace_back();
    row.table = "t";
    row.row.cells = {{"schedule", schedule}, {"mbs", micro_batch}};
    row.outcome.seconds = predicted;
    row.published = {published, "s_per_iter"};
  };
  add("1F1B", "1", 12, 10);
  CHECK_FALSE(summaries(validation).back().schedule_ratio);
  add("ZB-1p", "1", 9, 8);    // 0.75 of the first, published 0.8: 6.25 % off
  add("GPipe", "1", 15, 12);  // 1.25 and 1.2: 4.17 % of the first; 5/3 and 1.5: 11.1 % of ZB-1p
  add("1F1B", "2", 100, 1);   // another micro-batch
  CHECK(summaries(validation).back().schedule_ratio == Approx((0.0625 + 0.05 / 1.2 + 1. / 9) / 3));
}

TEST_CASE("least squares finds coefficients and keeps them from being negative") {
  // y = 2 a + 3 b
  const std::vector<double> exact =
      least_squares({{1, 0}, {0, 1}, {1, 1}}, std::vector<double>{2, 3, 5});
  CHECK(exact[0] == Approx(2));
  CHECK(exact[1] == Approx(3));
  // Unrestricted: 2 a - b. Without b: sum a y / sum a a = (1 * 1 + 2 * 4) / (1 + 4).
  const std::vector<double> bound = least_squares({{1, 1}, {2, 0}}, std::vector<double>{1, 4});
  CHECK(bound[0] == Approx(1.8));
  CHECK(bound[1] == 0);
  // A term that is zero everywhere.
  CHECK(least_squares({{1, 0}, {2, 0}}, std::vector<double>{3, 6}) == std::vector<double>{3, 0});
}

TEST_CASE("the null models are fitted as their formulas say") {
  // Efficiency: the geometric mean of 1/2 and 1/8. Two rows carry one coefficient; relative errors
  // of c/2 and c/8: c = (1/2 + 1/8) / (1/4 + 1/64).
  const auto models = fitted_null_models({{{1, 9, 9, 9, 9}, 2}, {{1, 7, 7, 7, 7}, 8}});
  REQUIRE(models);
  CHECK(models->efficiency == Approx(0.25));
  CHECK(models->coefficients[0] == Approx(0.625 / 0.265625));
  CHECK(models->coefficients[1] == 0);
  CHECK(models->flops_seconds({3}) == Approx(12));
  CHECK_FALSE(fitted_null_models({}));
}

TEST_CASE("errors of runs that are alike: eight of a table at least") {
  const std::vector<std::string> files = {kPublished + "01_korthikanti_2022.csv",
                                          kPublished + "12_vtrain_multinode.csv"};
  Validation validation = validated(files, rules(), Split::All, 2);
  for (ValidatedRow& row : validation.rows)
    if (row.is_timed()) row.outcome.seconds = 0.75 * row.published->seconds;
  const std::string text = residuals_markdown(validation, rules());
  const auto lines_with = [&text](const std::string& part) {
    int lines = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
      ++lines;
    return lines;
  };
  // 71 runs of table 12: 47 with a pipeline, 21 with tensor parallelism alone and 3 of neither.
  CHECK(lines_with("\n| 12_vtrain_multinode | NVIDIA A100-SXM4-80GB | fp16 | gpt | ") == 2);
  CHECK(lines_with("pipeline | 47 | 25.0 | -25.0 | -25.0 to -25.0 |\n") == 1);
  CHECK(lines_with("tensor | 21 | 25.0 | -25.0 | -25.0 to -25.0 |\n") == 1);
  CHECK(lines_with("01_korthikanti") == 0);  // four runs
  std::erase_if(validation.rows, [](const ValidatedRow& row) { return row.table[1] == '2'; });
  CHECK(residuals_markdown(validation, rules()).empty());
}

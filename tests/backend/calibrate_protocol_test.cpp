// Which series of times are believed, and what is said of the others.
#include "backend/calibrate/protocol.hpp"
#include "catch.hpp"

using namespace windtunnel;

namespace {

// Nine times around a median of 1 ms whose p10 and p90 lie `spread` apart.
std::vector<double> around(double median, double spread) {
  std::vector<double> times;
  // p10 of nine values is at place 0.8, p90 at 7.2: 6.4 steps apart.
  for (int i = -4; i <= 4; ++i) times.push_back(median * (1 + spread * i / 6.4));
  return times;
}

}  // namespace

TEST_CASE("two quiet passes that agree give the median of both") {
  const Judgement judgement = judgement_of({around(1e-3, 0.04), around(1.02e-3, 0.04)});
  CHECK(judgement.noise.empty());
  // The middle of 18 values: medians of 1 and 1.02 ms, 20 us apart, steps of about 6.3 us.
  CHECK(judgement.figure.time.value == Approx(1.01e-3).epsilon(1e-3));
  CHECK(judgement.figure.spread == Approx(0.0408).margin(0.02));
}

TEST_CASE("a spread above the limit is refused") {
  const Judgement judgement = judgement_of({around(1e-3, 0.2), around(1e-3, 0.2)});
  CHECK(judgement.noise ==
        "9 repetitions spread by 20.0 % (p90 - p10 over the median of 1 ms, limit 10 %)");
  // Of both together: 18 values, each twice, whose p10 and p90 lie 6.6 steps apart, and 6.4 in one.
  CHECK(judgement.figure.spread == Approx(0.2 * 6.6 / 6.4));
}

TEST_CASE("passes that do not agree are refused") {
  const Judgement judgement =
      judgement_of({around(1e-3, 0.01), around(1.1e-3, 0.01), around(1.2e-3, 0.01)});
  CHECK(judgement.noise == "passes of 1.1 ms and 1.2 ms do not agree to 3 %");
  CHECK(judgement.figure.time.value == Approx(1.1e-3));  // the middle of all three
}

TEST_CASE("a noisy pass between two that agree does no harm") {
  CHECK(judgement_of({around(1e-3, 0.01), around(2e-3, 0.5), around(1e-3, 0.01)}).noise.empty());
}

TEST_CASE("one pass has none to agree with") {
  CHECK(judgement_of({around(1e-3, 0.01)}).noise == "one pass has none to agree with");
}

TEST_CASE("a few microseconds of a short time do not matter") {
  CHECK(judgement_of({around(20e-6, 0.4), around(23e-6, 0.4)}).noise.empty());
  CHECK_FALSE(judgement_of({around(200e-6, 0.4), around(230e-6, 0.4)}).noise.empty());
}

TEST_CASE("passes are repeated until all figures are quiet, three times at most") {
  int passes = 0;
  const auto quiet = [&] {
    ++passes;
    return Series{{"a", around(1e-3, 0.01)}, {"b", around(2e-3, 0.01)}};
  };
  for (const auto& [name, judgement] : judged(quiet)) CHECK(judgement.noise.empty());
  CHECK(passes == 2);

  passes = 0;
  const auto once_noisy = [&] {
    ++passes;
    return Series{{"a", around(1e-3, 0.01)}, {"b", around(2e-3, passes == 1 ? 0.5 : 0.01)}};
  };
  for (const auto& [name, judgement] : judged(once_noisy)) CHECK(judgement.noise.empty());
  CHECK(passes == 3);

  passes = 0;
  const auto noisy = [&] {
    ++passes;
    return Series{{"a", around(1e-3, 0.01)}, {"b", around(2e-3, 0.5)}};
  };
  const Judgements judgements = judged(noisy);
  CHECK(passes == 3);
  CHECK(judgements.at("a").noise.empty());
  CHECK_FALSE(judgements.at("b").noise.empty());
}

TEST_CASE("a machine that others use is not quiet") {
  CHECK(noise_before(0.09, 0, 0.5, 2).empty());
  CHECK(noise_before(1.25, 0, 3.1, 2) == "others use 1.25 of the 2 processors (load average 3.10)");
  CHECK(noise_before(0, 0.25, 0.5, 2) == "the hypervisor takes 0.25 of the 2 processors away");
}

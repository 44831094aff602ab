// What the schedules of the table cost in stored activations, messages and time, against tables and
// closed forms. Times come from asap.hpp and are exact, because all are sums of binary fractions.
// p = pipeline ranks, m = micro-batches, v = chunks; F, I, W per device and micro-batch.
#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "asap.hpp"
#include "catch.hpp"
#include "schedules/schedule.hpp"

using namespace windtunnel;

namespace {

using Counts = std::vector<int>;
using Messages = std::vector<std::pair<int, int>>;

Schedule made(const std::string& name, int p, int m, int v = 1) {
  const ScheduleFamily* family = find_schedule(name);
  REQUIRE(family);
  REQUIRE(family->limits(p, m, v) == "");
  return family->make(p, m, v);
}

// F, I, W of a device, of which each chunk takes 1/v.
AsapRun uniform_run(const Schedule& schedule, double f, double i, double w, double latency = 0) {
  const double v = double(schedule.stages()) / schedule.devices;
  return asap_run(schedule, StageTimes{f / v, i / v, w / v}, latency);
}

Counts repeated(int count, int times) {
  return Counts(times, count);
}

struct Row {
  std::string name;
  int p, m, v;
  double makespan, bubble_fraction, largest_span;
  Counts activations;
};

}  // namespace

TEST_CASE("schedule times and activations with F = I = W = 1") {
  const std::vector<Row> rows = {
      {"naive", 4, 8, 1, 96, 3 / 4.0, 96, repeated(1, 4)},
      {"gpipe", 4, 8, 1, 33, 3 / 11.0, 33, repeated(8, 4)},
      {"1f1b", 4, 8, 1, 33, 3 / 11.0, 33, {4, 3, 2, 1}},
      {"interleaved", 4, 8, 2, 28.5, 3 / 19.0, 28.5, {11, 9, 7, 5}},
      {"looped-bfs", 4, 8, 2, 28.5, 3 / 19.0, 28.5, repeated(16, 4)},
      {"zb-h1", 4, 8, 1, 27, 1 / 9.0, 27, repeated(4, 4)},
      {"zb-h2", 4, 8, 1, 27, 1 / 9.0, 24, repeated(7, 4)},
      {"zb-v", 4, 8, 2, 25.5, 1 / 17.0, 24, repeated(8, 4)},
      {"naive", 8, 8, 1, 192, 7 / 8.0, 192, repeated(1, 8)},
      {"gpipe", 8, 8, 1, 45, 7 / 15.0, 45, repeated(8, 8)},
      {"1f1b", 8, 8, 1, 45, 7 / 15.0, 45, {8, 7, 6, 5, 4, 3, 2, 1}},
      {"interleaved", 8, 8, 2, 34.5, 7 / 23.0, 34.5, {16, 16, 16, 16, 15, 13, 11, 9}},
      {"looped-bfs", 8, 8, 2, 34.5, 7 / 23.0, 34.5, repeated(16, 8)},
      {"zb-h1", 8, 8, 1, 31, 7 / 31.0, 31, repeated(8, 8)},
      {"zb-h2", 8, 8, 1, 31, 7 / 31.0, 31, repeated(8, 8)},
      // m < 2p - 1: the truncated order.
      {"zb-v", 8, 8, 2, 31, 7 / 31.0, 31, {9, 10, 11, 12, 13, 14, 15, 16}},
  };
  for (const Row& row : rows) {
    INFO(row.name << " p=" << row.p << " m=" << row.m << " v=" << row.v);
    const Schedule schedule = made(row.name, row.p, row.m, row.v);
    const AsapRun run = uniform_run(schedule, 1, 1, 1);
    CHECK(run.makespan == row.makespan);
    CHECK(run.bubble_fraction() == Approx(row.bubble_fraction).epsilon(1e-14));
    CHECK(run.largest_span() == row.largest_span);
    CHECK((peak_activations(schedule) == row.activations));
  }
}

TEST_CASE("schedule activations when the input gradient frees them") {
  CHECK((peak_activations(made("zb-h1", 4, 8), false) == Counts{4, 3, 2, 1}));
  CHECK((peak_activations(made("zb-h2", 4, 8), false) == Counts{7, 5, 3, 1}));
  CHECK((peak_activations(made("1f1b", 4, 8), false) == Counts{4, 3, 2, 1}));
}

TEST_CASE("schedule messages, p=4 m=8") {
  const Messages chain = {{8, 0}, {8, 8}, {8, 8}, {0, 8}};
  for (const char* name : {"naive", "gpipe", "1f1b", "zb-h1", "zb-h2"}) {
    INFO(name);
    CHECK((message_counts(made(name, 4, 8)) == chain));
  }
  const Messages loop = {{16, 8}, {16, 16}, {16, 16}, {8, 16}};
  CHECK((message_counts(made("interleaved", 4, 8, 2)) == loop));
  CHECK((message_counts(made("looped-bfs", 4, 8, 2)) == loop));
  const Messages v_shape = {{8, 8}, {16, 16}, {16, 16}, {8, 8}};
  CHECK((message_counts(made("zb-v", 4, 8, 2)) == v_shape));
  CHECK((message_counts(made("interleaved", 1, 8, 2)) == Messages{{0, 0}}));
}

TEST_CASE("interleaved warm-up counts") {
  // A device's first backward follows its warm-up and, unless that is everything, one more forward.
  const auto warm_up = [](int p, int m, int v) {
    Counts counts;
    for (const auto& list : made("interleaved", p, m, v).actions) {
      const auto first = std::find_if(list.begin(), list.end(), [](const Action& action) {
        return action.type == ActionType::B;
      });
      const int forwards = int(first - list.begin());
      counts.push_back(forwards == m * v && first[1].type == ActionType::B ? forwards
                                                                           : forwards - 1);
    }
    return counts;
  };
  CHECK((warm_up(4, 8, 2) == Counts{10, 8, 6, 4}));
  CHECK((warm_up(8, 8, 2) == Counts{16, 16, 16, 16, 14, 12, 10, 8}));
  CHECK((warm_up(8, 16, 2) == Counts{22, 20, 18, 16, 14, 12, 10, 8}));
}

TEST_CASE("schedule start times, p=4 m=8, F=1 B=2") {
  for (const std::string name : {"1f1b", "zb-h1"}) {
    INFO(name);
    const Schedule schedule = made(name, 4, 8);
    const AsapRun run = uniform_run(schedule, 1, 1, 1);
    std::ostringstream text;
    for (std::size_t device = 0; device < schedule.actions.size(); ++device)
      for (std::size_t k = 0; k < schedule.actions[device].size(); ++k)
        text << to_text(schedule.actions[device][k]) << '@' << run.start[device][k]
             << (k + 1 < schedule.actions[device].size() ? ' ' : '\n');
    std::ifstream in(WINDTUNNEL_SOURCE_DIR "/tests/golden/schedule_starts/" + name + "-p4-m8.txt");
    CHECK(text.str() == std::string(std::istreambuf_iterator<char>(in), {}));
  }
}

TEST_CASE("schedule times: closed forms of full backwards over a grid") {
  for (int p = 1; p <= 8; ++p)
    for (int m = 1; m <= 16; ++m)
      for (const auto& [f, b] : {std::pair(1.0, 1.0), {1.0, 2.0}, {2.0, 3.0}}) {
        INFO("p=" << p << " m=" << m << " F=" << f << " B=" << b);
        const auto time = [&, f = f, b = b](const Schedule& schedule) {
          return uniform_run(schedule, f, b / 2, b / 2).makespan;
        };
        CHECK(time(made("naive", p, m)) == m * p * (f + b));
        CHECK(time(made("gpipe", p, m)) == (m + p - 1) * (f + b));
        CHECK(time(made("1f1b", p, m)) == (m + p - 1) * (f + b));
        Counts in_flight;
        for (int stage = 0; stage < p; ++stage) in_flight.push_back(std::min(p - stage, m));
        CHECK((peak_activations(made("1f1b", p, m)) == in_flight));
        // v = 2 and 4, so that chunk times are binary fractions; m >= p for looped-bfs.
        for (const int v : {2, 4}) {
          const double looped = m * (f + b) + (p - 1) * (f + b) / v;
          if (m % p == 0) CHECK(time(made("interleaved", p, m, v)) == looped);
          if (m >= p) CHECK(time(made("looped-bfs", p, m, v)) == looped);
        }
      }
}

TEST_CASE("zero-bubble schedules: closed forms with equal halves") {
  for (const int p : {1, 2, 3, 4, 6, 8})
    for (const int m : {p, 2 * p - 1, 2 * p, 3 * p + 1}) {
      INFO("p=" << p << " m=" << m);
      const Schedule h1 = made("zb-h1", p, m);
      CHECK(uniform_run(h1, 1, 1, 1).makespan == 3 * m + p - 1);
      for (const auto& ends : uniform_run(h1, 1, 1, 1).end) CHECK(ends.back() == 3 * m + p - 1);
      CHECK((peak_activations(h1) == repeated(p, p)));
      if (m < 2 * p - 1) continue;
      const Schedule h2 = made("zb-h2", p, m), zb_v = made("zb-v", p, m, 2);
      CHECK((uniform_run(h2, 1, 1, 1).span == std::vector<double>(p, 3.0 * m)));
      CHECK((peak_activations(h2) == repeated(2 * p - 1, p)));
      CHECK((uniform_run(zb_v, 1, 1, 1).span == std::vector<double>(p, 3.0 * m)));
      CHECK((peak_activations(zb_v) == repeated(2 * p, p)));
    }
}

TEST_CASE("zero-bubble schedules: unequal halves, p=4 m=8") {
  struct Case {
    double f, i, w, h1, h2_span, h2;
  };
  for (const Case& c : {Case{10, 12, 8, 282, 258, 270}, Case{10, 14, 9, 309, 282, 294},
                        Case{10, 8, 12, 270, 240, 270}, Case{10, 20, 3, 345, 336, 336}}) {
    INFO("F=" << c.f << " I=" << c.i << " W=" << c.w);
    CHECK(uniform_run(made("zb-h1", 4, 8), c.f, c.i, c.w).makespan == c.h1);
    const AsapRun h2 = uniform_run(made("zb-h2", 4, 8), c.f, c.i, c.w);
    CHECK(h2.largest_span() == c.h2_span);
    CHECK(h2.makespan == c.h2);
  }
}

TEST_CASE("zero-bubble schedules: closed forms with unequal halves") {
  const std::vector<StageTimes> grid = {{10, 10, 10}, {10, 12, 8}, {10, 14, 9},  {10, 8, 12},
                                        {10, 9, 10},  {10, 10, 5}, {10, 20, 10}, {5, 10, 10},
                                        {10, 20, 3},  {10, 30, 5}, {5, 20, 10},  {5, 30, 10},
                                        {2, 10, 10},  {3, 7, 20},  {10, 15, 20}, {4, 9, 6}};
  for (const int p : {4, 8})
    for (const int m : {2 * p, 3 * p})
      for (const auto& [f, i, w] : grid) {
        INFO("p=" << p << " m=" << m << " F=" << f << " I=" << i << " W=" << w);
        const double work = m * (f + i + w);
        CHECK(uniform_run(made("zb-h1", p, m), f, i, w).makespan ==
              work + (p - 1) * std::max({f, i, f + i - w}));
        const AsapRun h2 = uniform_run(made("zb-h2", p, m), f, i, w);
        CHECK(h2.largest_span() == work + (p - 1) * std::max({0.0, i - f, f + i - 2 * w}));
        CHECK(h2.makespan == work + (p - 1) * std::max({f, i - f, f + i - 2 * w}));
      }
}

TEST_CASE("schedule times with message latency") {
  struct Case {
    const char* name;
    int v;
    double latency, p4, p8;
  };
  for (const Case& c : {Case{"1f1b", 1, 0.125, 35, 48.25}, Case{"gpipe", 1, 0.125, 33.75, 46.75},
                        Case{"interleaved", 2, 0.125, 30.25, 38.25}, Case{"1f1b", 1, 0.5, 41, 58},
                        Case{"gpipe", 1, 0.5, 36, 52}, Case{"interleaved", 2, 0.5, 35.5, 49.5}}) {
    INFO(c.name << " latency " << c.latency);
    CHECK(uniform_run(made(c.name, 4, 8, c.v), 1, 1, 1, c.latency).makespan == c.p4);
    CHECK(uniform_run(made(c.name, 8, 8, c.v), 1, 1, 1, c.latency).makespan == c.p8);
  }
}

TEST_CASE("1f1b pays for latency in every period, gpipe only once per stage") {
  // Stage 0 has p micro-batches in flight: its period for p of them is p (F + B) + 2 (p - 1) c.
  for (const int p : {2, 4, 8})
    for (const double latency : {0.125, 0.5, 2.0}) {
      INFO("p=" << p << " latency " << latency);
      const auto time = [&](const char* name, int m) {
        return uniform_run(made(name, p, m), 1, 1, 1, latency).makespan;
      };
      CHECK(time("1f1b", 12 * p) - time("1f1b", 8 * p) == 4 * (3 * p + 2 * (p - 1) * latency));
      CHECK(time("gpipe", 8) == (8 + p - 1) * 3 + 2 * (p - 1) * latency);
    }
}

TEST_CASE("schedule times of non-uniform stages, m=8, B = 2F") {
  struct Case {
    std::vector<double> forward;
    double floor, one_f_one_b, gpipe;
  };
  for (const Case& c : {Case{{1, 1, 2, 1}, 54, 55, 57}, Case{{2, 1, 1, 1}, 48, 51, 57},
                        Case{{1, 1, 1, 2}, 57, 57, 57}, Case{{1, 2, 3, 4}, 114, 114, 114}}) {
    INFO("F=" << c.forward[0] << c.forward[1] << c.forward[2] << c.forward[3]);
    const auto time = [&](const char* name) {
      return asap_run(made(name, 4, 8),
                      [&](const Action& action) {
                        return c.forward[action.stage] * (action.type == ActionType::F ? 1 : 2);
                      })
          .makespan;
    };
    // Until stage k has its first input, all of its work, and the way back from it.
    double floor = 0, before = 0;
    for (const double forward : c.forward) {
      floor = std::max(floor, before + 8 * 3 * forward);
      before += 3 * forward;
    }
    CHECK(floor == c.floor);
    CHECK(time("1f1b") == c.one_f_one_b);
    CHECK(time("gpipe") == c.gpipe);
  }
}

TEST_CASE("asap_run reports a deadlock") {
  Schedule schedule = made("1f1b", 2, 1);
  std::swap(schedule.actions[1][0], schedule.actions[1][1]);
  CHECK_THROWS_AS(asap_run(schedule, StageTimes{}), std::runtime_error);
}

// The table of schedules: properties of every row, exact orders, and that check_schedule finds
// errors. The golden orders were written from the published rules, not by this program; a new file
// NAME-pP-mM[-vV].txt in tests/golden/schedules is compared without a change here.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "asap.hpp"
#include "catch.hpp"
#include "schedules/schedule.hpp"

using namespace windtunnel;

namespace {

const std::filesystem::path kGolden = WINDTUNNEL_SOURCE_DIR "/tests/golden";

Schedule made(const std::string& name, int p, int m, int v = 1) {
  const ScheduleFamily* family = find_schedule(name);
  REQUIRE(family);
  REQUIRE(family->limits(p, m, v) == "");
  return family->make(p, m, v);
}

std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The reverse of to_text(Schedule).
std::vector<std::vector<Action>> actions_of_text(const std::string& text) {
  const std::string letters = "FBIW";
  std::vector<std::vector<Action>> lists;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    lists.emplace_back();
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      Action action;
      char letter = 0;
      REQUIRE(std::sscanf(word.c_str(), "%d%c%d", &action.stage, &letter, &action.micro_batch) ==
              3);
      REQUIRE(letters.find(letter) != std::string::npos);
      action.type = ActionType(letters.find(letter));
      lists.back().push_back(action);
    }
  }
  return lists;
}

// How often each action occurs.
std::map<std::string, int> action_counts(const Schedule& schedule) {
  std::map<std::string, int> counts;
  for (const auto& list : schedule.actions)
    for (const Action& action : list) ++counts[to_text(action)];
  return counts;
}

void for_all_small_schedules(
    const std::function<void(const ScheduleFamily&, const Schedule&, int)>& check) {
  for (const ScheduleFamily& family : schedule_table())
    for (int p = 1; p <= 8; ++p)
      for (int m = 1; m <= 16; ++m)
        for (int v = 1; v <= 4; ++v)
          if (family.limits(p, m, v).empty()) {
            INFO(family.name << " p=" << p << " m=" << m << " v=" << v);
            check(family, family.make(p, m, v), v);
          }
}

}  // namespace

TEST_CASE("schedule table: names are unique, and rows have a source and small cases") {
  std::set<std::string_view> names;
  for (const ScheduleFamily& family : schedule_table()) {
    INFO(family.name);
    CHECK(names.insert(family.name).second);
    CHECK(!family.source.empty());
    CHECK(find_schedule(family.name) == &family);
    CHECK((family.limits(4, 8, 1).empty() || family.limits(4, 8, 2).empty()));
  }
  CHECK(find_schedule("") == nullptr);
  CHECK(find_schedule("1F1B") == nullptr);
}

TEST_CASE("schedules: every small case is complete and free of deadlock") {
  for_all_small_schedules([](const ScheduleFamily& family, const Schedule& schedule, int v) {
    REQUIRE(check_schedule(schedule) == "");
    REQUIRE(schedule.stages() == schedule.devices * v);
    const auto counts = action_counts(schedule);
    const int types = family.splits_backward ? 3 : 2;
    REQUIRE(int(counts.size()) == schedule.stages() * schedule.micro_batches * types);
    for (const auto& [action, count] : counts) {
      if (count != 1) FAIL(action << " occurs " << count << " times");
      if (action.find(family.splits_backward ? 'B' : 'I') != std::string::npos)
        FAIL(action << " contradicts splits_backward");
    }
  });
}

TEST_CASE("schedules: the text form says everything about the lists") {
  for_all_small_schedules([](const ScheduleFamily&, const Schedule& schedule, int) {
    REQUIRE((actions_of_text(to_text(schedule)) == schedule.actions));
  });
}

TEST_CASE("schedules: activations and messages of every small case are within their bounds") {
  for_all_small_schedules([](const ScheduleFamily&, const Schedule& schedule, int v) {
    const auto at_weight = peak_activations(schedule);
    const auto at_input = peak_activations(schedule, false);
    REQUIRE(int(at_weight.size()) == schedule.devices);
    int activations = 0, gradients = 0;
    for (int device = 0; device < schedule.devices; ++device) {
      REQUIRE(at_input[device] >= 1);
      REQUIRE(at_input[device] <= at_weight[device]);
      REQUIRE(at_weight[device] <= schedule.micro_batches * v);
      activations += message_counts(schedule)[device].first;
      gradients += message_counts(schedule)[device].second;
    }
    int crossings = 0;
    for (int stage = 1; stage < schedule.stages(); ++stage)
      crossings += schedule.device_of_stage[stage] != schedule.device_of_stage[stage - 1];
    REQUIRE(activations == crossings * schedule.micro_batches);
    REQUIRE(gradients == activations);
  });
}

TEST_CASE("schedules: every small case has the work of its stages and no negative bubble") {
  for_all_small_schedules([](const ScheduleFamily&, const Schedule& schedule, int v) {
    const AsapRun run = asap_run(schedule, StageTimes{1, 2, 1});
    for (const double busy : run.busy) REQUIRE(busy == 4.0 * v * schedule.micro_batches);
    // No schedule beats one micro-batch's way through all stages and back.
    REQUIRE(run.makespan >= 3.0 * schedule.stages() + 1);
    REQUIRE(run.largest_span() <= run.makespan);
    REQUIRE(run.bubble_fraction() >= 0);
  });
}

TEST_CASE("schedules: limits") {
  const auto limits = [](const char* name, int p, int m, int v) {
    return find_schedule(name)->limits(p, m, v);
  };
  for (const char* name : {"naive", "gpipe", "1f1b", "zb-h1", "zb-h2"}) {
    CHECK(limits(name, 4, 7, 1) == "");
    CHECK(limits(name, 4, 8, 2) == "it needs 1 chunk per device (virtual_stages), not 2");
  }
  CHECK(limits("interleaved", 4, 8, 2) == "");
  CHECK(limits("interleaved", 4, 8, 1) == "it needs at least 2 chunks per device (virtual_stages)");
  CHECK(limits("interleaved", 4, 6, 2) ==
        "the number of micro-batches (6) must be a multiple of the number of pipeline ranks (4)");
  CHECK(limits("looped-bfs", 4, 7, 3) == "");
  CHECK(limits("looped-bfs", 4, 8, 1) == "it needs at least 2 chunks per device (virtual_stages)");
  CHECK(limits("zb-v", 4, 3, 2) == "");
  CHECK(limits("zb-v", 4, 8, 1) == "it needs 2 chunks per device (virtual_stages), not 1");
  CHECK(limits("zb-v", 4, 8, 4) == "it needs 2 chunks per device (virtual_stages), not 4");
}

TEST_CASE("schedules: golden orders") {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden / "schedules")) {
    const std::string stem = entry.path().stem().string();
    INFO(stem);
    const auto numbers = stem.rfind("-p");
    REQUIRE(numbers != std::string::npos);
    int p = 0, m = 0, v = 1;
    REQUIRE(std::sscanf(stem.c_str() + numbers, "-p%d-m%d-v%d", &p, &m, &v) >= 2);
    CHECK(to_text(made(stem.substr(0, numbers), p, m, v)) == file_text(entry.path()));
    ++files;
  }
  CHECK(files >= 16);  // an empty folder is not a pass
}

TEST_CASE("schedules: stages are placed in a loop, and for zb-v in a V") {
  CHECK((made("1f1b", 3, 3).device_of_stage == std::vector{0, 1, 2}));
  CHECK((made("interleaved", 3, 3, 2).device_of_stage == std::vector{0, 1, 2, 0, 1, 2}));
  CHECK((made("looped-bfs", 2, 3, 3).device_of_stage == std::vector{0, 1, 0, 1, 0, 1}));
  CHECK((made("zb-v", 3, 3, 2).device_of_stage == std::vector{0, 1, 2, 2, 1, 0}));
}

TEST_CASE("to_text of actions") {
  CHECK(to_text(Action{ActionType::F, 2, 0}) == "2F0");
  CHECK(to_text(Action{ActionType::B, 0, 13}) == "0B13");
  CHECK(to_text(Action{ActionType::I, 10, 1}) == "10I1");
  CHECK(to_text(Action{ActionType::W, 1, 2}) == "1W2");
  CHECK(to_text(made("1f1b", 2, 2)) == "0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n");
}

namespace {

// What check_schedule says of lists in text form, with `stage % devices` as placement.
std::string error_of(const std::string& text, int stages, int micro_batches) {
  Schedule schedule{
      .devices = 0, .micro_batches = micro_batches, .device_of_stage = {}, .actions = {}};
  schedule.actions = actions_of_text(text);
  schedule.devices = int(schedule.actions.size());
  for (int stage = 0; stage < stages; ++stage)
    schedule.device_of_stage.push_back(stage % schedule.devices);
  return check_schedule(schedule);
}

}  // namespace

TEST_CASE("check_schedule accepts full and split backwards side by side") {
  CHECK(error_of("0F0 0B0\n1F0 1B0\n", 2, 1) == "");
  CHECK(error_of("0F0 0I0 0W0\n1F0 1B0\n", 2, 1) == "");
  CHECK(error_of("0F0 0F1 0B1 0I0 0W0\n1F0 1F1 1I1 1W1 1B0\n", 2, 2) == "");
  CHECK(error_of("0F0 1F0 1B0 0B0\n", 2, 1) == "");
}

TEST_CASE("check_schedule finds missing and repeated actions") {
  CHECK(error_of("0F0\n1F0 1B0\n", 2, 1) == "0B0 is missing");
  CHECK(error_of("0B0\n1F0 1B0\n", 2, 1) == "0F0 is missing");
  CHECK(error_of("0F0 0B0\n1F0 1B0\n", 2, 2) == "0F1 is missing");
  CHECK(error_of("0F0 0I0\n1F0 1B0\n", 2, 1) == "0W0 is missing");
  CHECK(error_of("0F0 0W0\n1F0 1B0\n", 2, 1) == "0I0 is missing");
  CHECK(error_of("0F0 0F0 0B0\n1F0 1B0\n", 2, 1) == "0F0 is listed twice");
  CHECK(error_of("0F0 0B0 0W0\n1F0 1B0\n", 2, 1) == "0W0 repeats a part of 0B0");
  CHECK(error_of("0F0 0I0 0B0\n1F0 1B0\n", 2, 1) == "0I0 repeats a part of 0B0");
}

TEST_CASE("check_schedule finds actions out of place") {
  CHECK(error_of("0F0 1B0\n1F0 0B0\n", 2, 1) ==
        "1B0 is in the list of device 0, but its stage is on device 1");
  CHECK(error_of("0F0 0B0 2F0\n1F0 1B0\n", 2, 1) == "2F0 has no such stage or micro-batch");
  CHECK(error_of("0F0 0B0\n1F0 1B0 1F1\n", 2, 1) == "1F1 has no such stage or micro-batch");
}

TEST_CASE("check_schedule finds deadlocks") {
  CHECK(error_of("0F0 0B0\n1B0 1F0\n", 2, 1) ==
        "deadlock: device 0 waits at 0B0, device 1 waits at 1B0");
  CHECK(error_of("0F0 0W0 0I0\n1F0 1B0\n", 2, 1) == "deadlock: device 0 waits at 0W0");
  // Each device does first what the other one waits for last.
  CHECK(error_of("0F0 0B0 0F1 0B1\n1F1 1B1 1F0 1B0\n", 2, 2) ==
        "deadlock: device 0 waits at 0B0, device 1 waits at 1F1");
}

TEST_CASE("check_schedule finds schedules of a wrong shape") {
  const Schedule good = made("1f1b", 2, 2);
  Schedule bad = good;
  bad.devices = 3;
  CHECK(check_schedule(bad) == "there are 2 lists for 3 devices");
  bad = good;
  bad.device_of_stage[1] = 2;
  CHECK(check_schedule(bad) == "stage 1 is on device 2, which does not exist");
  CHECK(check_schedule(Schedule{}) == "a schedule needs devices, stages and micro-batches");
}

TEST_CASE("check_schedule: no action of a good schedule can be left out or repeated") {
  for (const ScheduleFamily& family : schedule_table()) {
    const Schedule good = family.make(3, 6, family.limits(3, 6, 1).empty() ? 1 : 2);
    for (int device = 0; device < good.devices; ++device)
      for (std::size_t k = 0; k < good.actions[device].size(); ++k) {
        INFO(family.name << " device " << device << " action " << k);
        Schedule bad = good;
        bad.actions[device].erase(bad.actions[device].begin() + int(k));
        CHECK(check_schedule(bad) == to_text(good.actions[device][k]) + " is missing");
        bad.actions[device] = good.actions[device];
        bad.actions[device].push_back(good.actions[device][k]);
        CHECK(check_schedule(bad) == to_text(good.actions[device][k]) + " is listed twice");
      }
  }
}

// The verb `sweep`: what it varies, what it writes, and that nothing stops it.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <stdexcept>
#include <thread>

#include "catch.hpp"
#include "commands/cases.hpp"
#include "commands/csv.hpp"
#include "commands/progress_bar.hpp"
#include "commands/sweep.hpp"
#include "commands/sweep_points.hpp"
#include "commands/sweep_row.hpp"
#include "commands/workers.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"
#include "engine/simulate.hpp"
#include "folder.hpp"
#include "report/report.hpp"

using namespace windtunnel;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const std::string kRoot = WINDTUNNEL_SOURCE_DIR;
const std::string kPipelineJob = kRoot + "/workloads/gpipe-vs-1f1b.yaml";
const std::string kZeroJob = kRoot + "/workloads/llama2-7b-zero.yaml";

std::vector<std::vector<std::string>> values_of(const std::vector<std::string>& options) {
  std::vector<Axis> axes;
  for (const std::string& option : options) axes.push_back(parsed_axis(option));
  std::vector<std::vector<std::string>> values;
  for (const SweepCase& each : cases_of(axes)) values.push_back(each.values);
  return values;
}

template <class Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

std::string error_of_axis(const std::string& option) {
  return error_of([&] { parsed_axis(option); });
}

struct Csv {
  std::vector<std::string> header;
  std::vector<CsvRow> rows;
  explicit Csv(const fs::path& path) {
    for (const std::string& line : lines_of(text_of(path))) rows.push_back(csv_fields(line));
    REQUIRE(!rows.empty());
    header = rows.front();
    rows.erase(rows.begin());
    for (const CsvRow& row : rows) REQUIRE(row.size() == header.size());
  }
  const std::string& at(std::size_t row, const std::string& column) const {
    return rows.at(row)[column_of(header, column)];
  }
  double number(std::size_t row, const std::string& column) const {
    return number_in(at(row, column)).value();
  }
};

int status_of(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str());
}

// report.json, simulated in a process of its own as the cases of a sweep are: SimGrid's clock goes
// on from one simulation to the next, which changes last digits.
json simulated(const std::string& path, const std::string& override) {
  Workers worker(1, [&](std::size_t) {
    const Job job = load_job(path, {override});
    const Plan plan = build_plan(job);
    const Trace trace = simulate(plan, build_cluster(job.cluster, job.gpus), conditions_of(job));
    return to_json(summarize(job, plan, trace), job);
  });
  REQUIRE(worker.start(0).empty());
  std::vector<Workers::Ended> ended;
  while (ended.empty()) ended = worker.wait(-1);
  REQUIRE(ended.front().completed);
  return json::parse(ended.front().text);
}

// A job and its cluster in files that a test may change.
fs::path write_job(const fs::path& folder) {
  write_text(folder / "cluster.yaml", "name: local\nsource: test\nnodes:\n  - {type: " + kRoot +
                                          "/topologies/nodes/dgx-h100.yaml, count: 1}\n" +
                                          "communication: {model: nccl, source: test}\n");
  write_text(folder / "job.yaml", "model: " + kRoot +
                                      "/workloads/models/synthetic-8.yaml\n"
                                      "cluster: cluster.yaml\ngpus: 4\nparallel: {pipeline: 4}\n"
                                      "batch: {global: 8, micro: 1}\nschedule: 1f1b\n"
                                      "optimizer: none\ngradient_clipping: false\n");
  return folder / "job.yaml";
}

pid_t started(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t id = ::fork();
  if (id == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDOUT_FILENO);
    ::execvp(argv.front(), argv.data());
    ::_exit(127);
  }
  REQUIRE(id > 0);
  return id;
}

int ended(pid_t id) {
  int status = -1;
  REQUIRE(::waitpid(id, &status, 0) == id);
  return status;
}

template <class Condition>
bool comes_true(const Condition& condition) {
  for (int i = 0; i < 30'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace

TEST_CASE("sweep: all combinations, the last key fastest") {
  using Values = std::vector<std::vector<std::string>>;
  CHECK(values_of({"a=1,2", "b=x,y"}) == Values{{"1", "x"}, {"1", "y"}, {"2", "x"}, {"2", "y"}});
  CHECK(values_of({"gpus,parallel.data=64:8,128:16"}) == Values{{"64", "8"}, {"128", "16"}});
  CHECK(values_of({"a=[1, 2],[3]"}) == Values{{"[1, 2]"}, {"[3]"}});
  CHECK(values_of({"a,b={x: 1, y: 2}:'p:q',{}:r"}) ==
        Values{{"{x: 1, y: 2}", "'p:q'"}, {"{}", "r"}});
  CHECK(values_of({"a=10 Gb/s, 2 us"}) == Values{{"10 Gb/s"}, {"2 us"}});
  CHECK(values_of({"a=../x.yaml"}) == Values{{"../x.yaml"}});
}

TEST_CASE("sweep: ranges") {
  using Values = std::vector<std::vector<std::string>>;
  CHECK(values_of({"a=0..3"}) == Values{{"0"}, {"1"}, {"2"}, {"3"}});
  CHECK(values_of({"a=8..25+8"}) == Values{{"8"}, {"16"}, {"24"}});
  CHECK(values_of({"a=3..50*4,7"}) == Values{{"3"}, {"12"}, {"48"}, {"7"}});
  CHECK(values_of({"a,b=1..4*2:10..12,9:9"}) ==
        Values{{"1", "10"}, {"2", "11"}, {"4", "12"}, {"9", "9"}});
}

TEST_CASE("sweep: what is wrong with --vary is said") {
  CHECK(error_of_axis("gpus") ==
        "--vary gpus: error: expected path=a,b,c, as in parallel.tensor=1,2,4");
  CHECK(error_of_axis("=1,2") ==
        "--vary =1,2: error: expected path=a,b,c, as in parallel.tensor=1,2,4");
  CHECK(error_of_axis("a=1,,2") == "--vary a=1,,2: error: an empty value; null takes a key away");
  CHECK(error_of_axis("a,b=1:2,3") == "--vary a,b=1:2,3: error: '3' has 1 values for 2 keys");
  CHECK(error_of_axis("a,b=1..2:1..3") ==
        "--vary a,b=1..2:1..3: error: '1..2:1..3': the ranges have 2 and 3 values");
  CHECK(error_of_axis("a=4..1") == "--vary a=4..1: error: the range '4..1' ends before it begins");
  for (const char* range : {"1..x", "1..8*1", "1..8+0", "0..8*2", "1..8*", "1..-8"})
    CHECK(error_of_axis(std::string("a=") + range).find("' is not a range such as") !=
          std::string::npos);
  CHECK(error_of([] {
          values_of({"a=1..1000", "b=1..1000"});
        }) == "--vary b: error: more than 100000 cases in all");
  CHECK(error_of([] {
          values_of({"a=1", "b,a=1:2"});
        }) == "--vary a: error: this key is varied twice");
}

TEST_CASE("sweep: rows of CSV read back") {
  const CsvRow row = {"a", "", "b, c", "say \"no\"", "\"", ","};
  CHECK(csv_line(row) == "a,,\"b, c\",\"say \"\"no\"\"\",\"\"\"\",\",\"");
  CHECK(csv_fields(csv_line(row)) == row);
}

TEST_CASE("sweep: the rows are what simulate says") {
  const TemporaryFolder folder("sweep_rows");
  const SweepOutcome outcome =
      sweep({.job = kZeroJob, .vary = {"parallel.zero_stage=3,1"}, .out = folder.path / "new"});
  CHECK(outcome.problem.empty());
  CHECK(outcome.cases == 2);
  CHECK(outcome.reused == 0);
  const Csv csv(folder.path / "new/sweep.csv");
  REQUIRE(csv.rows.size() == 2);
  CHECK(csv.header.front() == "parallel.zero_stage");
  for (std::size_t row = 0; row < 2; ++row) {
    const std::string stage = row == 0 ? "3" : "1";
    const json report = simulated(kZeroJob, "parallel.zero_stage=" + stage);
    CHECK(csv.at(row, "parallel.zero_stage") == stage);
    CHECK(csv.at(row, "status") == "ok");
    CHECK(csv.at(row, "reason").empty());
    CHECK(csv.at(row, "gpus") == "8");
    CHECK(csv.at(row, "global_batch_samples") == "64");
    for (const char* same : {"step_time_s", "samples_per_s", "tokens_per_s", "tokens_per_s_per_gpu",
                             "mfu", "bubble_fraction", "usd_per_step", "usd_per_million_tokens"})
      CHECK(csv.number(row, same) == report.at(same).get<double>());
    CHECK(csv.number(row, "samples_per_s_per_gpu") == report.at("samples_per_s").get<double>() / 8);
    CHECK(csv.number(row, "exposed_comm_s") == report.at("exposed_comm_s").at("total"));
    CHECK(csv.number(row, "memory_peak_bytes") == report.at("memory_bytes")[0].at("total"));
    CHECK(csv.number(row, "memory_capacity_bytes") == report.at("memory_bytes")[0].at("capacity"));
  }
}

TEST_CASE("sweep: a case that fails is a row, and the others go on") {
  const TemporaryFolder folder("sweep_failures");
  const SweepOutcome outcome =
      sweep({.job = kZeroJob, .vary = {"parallel.zero_stage=0,7,1"}, .out = folder.path});
  CHECK(outcome.problem.empty());
  CHECK(!outcome.all_invalid);
  const Csv csv(folder.path / "sweep.csv");
  CHECK(csv.at(0, "status") == "oom");
  CHECK(csv.at(0, "reason").find("Stage 0 needs") != std::string::npos);
  CHECK(csv.at(0, "step_time_s").empty());
  CHECK(csv.number(0, "memory_peak_bytes") > csv.number(0, "memory_capacity_bytes"));
  CHECK(csv.at(1, "status") == "invalid");
  CHECK(csv.at(1, "reason") ==
        "--set parallel.zero_stage=7: error: parallel.zero_stage: expected an integer from 0, got "
        "'7' (the largest is 3)");
  CHECK(csv.at(2, "status") == "ok");

  const SweepOutcome forced = sweep(
      {.job = kZeroJob, .vary = {"parallel.zero_stage=0"}, .out = folder.path, .allow_oom = true});
  CHECK(forced.reused == 0);
  CHECK(Csv(folder.path / "sweep.csv").at(0, "status") == "ok");

  CHECK(sweep({.job = kZeroJob, .vary = {"bach.global=1,2"}, .out = folder.path}).all_invalid);
  CHECK(error_of([&] { sweep({.job = "nowhere.yaml", .vary = {"a=1"}, .out = folder.path}); }) ==
        "nowhere.yaml: error: no such file");
  write_text(folder.path / "file", "");
  const SweepOutcome nowhere =
      sweep({.job = kZeroJob, .vary = {"a=1"}, .out = folder.path / "file"});
  CHECK(nowhere.problem.find("cannot") == 0);
}

TEST_CASE("sweep: the page shows every row, and text as text") {
  const TemporaryFolder folder("sweep_page");
  sweep({.job = kZeroJob, .vary = {"parallel.zero_stage=1,<script>"}, .out = folder.path});
  const std::string page = text_of(folder.path / "sweep.html");
  const json data = json::parse(data_of_page(page));
  CHECK(data_of_page(page).find('<') == std::string::npos);
  CHECK(data.at("rows").size() == 2);
  CHECK(data.at("points").at(1).at("values") == json{"<script>"});
  CHECK(data.at("points").at(1).at("ran") == false);
  CHECK(data.at("failures").size() == 1);
  const Csv csv(folder.path / "sweep.csv");
  const json& point = data.at("points").at(0);
  CHECK(point.at("per_s") == csv.number(0, "tokens_per_s"));
  CHECK(point.at("step_s") == csv.number(0, "step_time_s"));
  CHECK(point.at("mfu") == csv.number(0, "mfu"));
  CHECK(point.at("usd") == csv.number(0, "usd_per_million_tokens"));
  CHECK(point.at("memory") ==
        csv.number(0, "memory_peak_bytes") / csv.number(0, "memory_capacity_bytes"));
}

TEST_CASE("sweep: keys that go together make no series of their own") {
  const CsvRow header = {"gpus",
                         "parallel.data",
                         "zero",
                         "status",
                         "reason",
                         "global_batch_samples",
                         "step_time_s",
                         "samples_per_s",
                         "tokens_per_s",
                         "mfu",
                         "bubble_fraction",
                         "memory_peak_bytes",
                         "memory_capacity_bytes",
                         "usd_per_step",
                         "usd_per_million_tokens"};
  const auto row = [](const char* gpus, const char* data, const char* zero, const char* speed,
                      const char* usd) {
    return CsvRow{gpus, data, zero, "ok", "", "64", "1", speed, "", "", "", "", "", usd, ""};
  };
  // Doubling the GPUs gives 1.9 and 3.0 times the samples: efficiencies of 95 % and 75 %.
  const SweepPoints sweep =
      sweep_points(header, {row("8", "1", "1", "10", "3.2"), row("8", "1", "3", "8", "4"),
                            row("16", "2", "1", "19", "3.1"), row("16", "2", "3", "16", "4"),
                            row("32", "4", "1", "30", "3.3"), row("32", "4", "3", "32", "4")});
  CHECK(sweep.naming == std::vector<std::size_t>{0, 2});
  REQUIRE(sweep.series.size() == 2);
  CHECK(sweep.series[0].name == "zero 1");
  CHECK(sweep.series[0].points == std::vector<std::size_t>{0, 2, 4});
  CHECK(sweep.series[0].scaling == Scaling::Strong);
  CHECK(sweep.points[2].efficiency.value() == Approx(0.95));
  CHECK(sweep.points[4].speed_up.value() == Approx(3.0));
  CHECK(sweep.series[0].knee == 2);
  CHECK(!sweep.series[0].is_knee_largest);
  CHECK(sweep.series[1].knee == 5);
  CHECK(sweep.series[1].is_knee_largest);
  CHECK(sweep.cheapest == 2);  // $3.1 a step of 64 samples
  CHECK(sweep.points[2].usd.value() == Approx(3.1e6 / 64));
  CHECK(sweep.name_of(2) == "gpus 16, zero 1");
}

TEST_CASE("sweep: the time that is left counts down between ends, and up when a case is slow") {
  // 10 cases, 2 of before; 4 ended in 20 s, 5 s each: 4 cases or 20 s are left.
  SweepProgress progress{.cases = 10, .reused = 2, .done = 6, .now = 20, .last = 20};
  CHECK(seconds_left(progress) == Approx(20));
  progress.now = 23;
  CHECK(seconds_left(progress) == Approx(17));
  // If a fifth ended at 40 s, 3 more would take 8 s each; and it is 15 s late.
  progress.now = 40;
  CHECK(seconds_left(progress) == Approx(24 + 15));
  CHECK(progress_text(progress) == "[##################............] 6/10 cases, 39 s left");
  CHECK(progress_text({.cases = 4, .now = 3}) ==
        "[..............................] 0/4 cases, for 3 s");
  CHECK(progress_text({.cases = 4, .done = 4, .now = 8, .last = 8}) ==
        "[##############################] 4/4 cases, 0 s left");
  CHECK(progress_text({.cases = 3, .done = 1, .now = 400, .last = 400}) ==
        "[##########....................] 1/3 cases, 13 min left");
}

TEST_CASE("sweep: a task that dies says why, and the others go on") {
  const auto task = [](std::size_t index) -> std::string {
    std::signal(SIGABRT, SIG_DFL);  // the test program catches it
    if (index == 0) std::abort();
    if (index == 1) throw std::runtime_error("no more memory");
    if (index == 2) ::_exit(3);
    if (index == 3) std::raise(SIGKILL);
    return std::string(200'000, 'x');  // more than a pipe holds
  };
  Workers workers(2, task);
  std::map<std::size_t, Workers::Ended> all;
  for (std::size_t next = 0; next < 5 || workers.is_busy();) {
    for (; next < 5 && workers.has_room(); ++next) REQUIRE(workers.start(next).empty());
    for (const Workers::Ended& each : workers.wait(-1)) all[each.index] = each;
  }
  REQUIRE(all.size() == 5);
  CHECK(all[0].text.find("ended by signal 6") == 0);
  CHECK(all[1].text == "ended with exit code 1: no more memory");
  CHECK(all[2].text == "ended with exit code 3");
  CHECK(all[3].text.find("ended by signal 9") == 0);
  for (std::size_t index = 0; index < 4; ++index) CHECK(!all[index].completed);
  CHECK(all[4].completed);
  CHECK(all[4].text.size() == 200'000);
}

TEST_CASE("sweep: two workers run at the same time") {
  const TemporaryFolder folder("sweep_workers");
  // Each task ends only when it has seen the other one begin.
  const auto task = [&](std::size_t index) -> std::string {
    write_text(folder.path / std::to_string(index), "");
    const fs::path other = folder.path / std::to_string(1 - index);
    return comes_true([&] { return fs::exists(other); }) ? std::to_string(::getpid()) : "alone";
  };
  Workers workers(2, task);
  REQUIRE(workers.start(0).empty());
  CHECK(workers.has_room());
  REQUIRE(workers.start(1).empty());
  CHECK(!workers.has_room());
  std::set<std::string> processes;
  while (workers.is_busy())
    for (const Workers::Ended& each : workers.wait(-1)) processes.insert(each.text);
  CHECK(processes.size() == 2);
  CHECK(!processes.contains("alone"));
}

TEST_CASE("sweep: finished rows are used again until something changes") {
  const TemporaryFolder folder("sweep_changes");
  const std::string job = write_job(folder.path);
  const auto reused = [&](const std::vector<std::string>& overrides, const std::string& vary) {
    const SweepOutcome outcome =
        sweep({.job = job, .overrides = overrides, .vary = {vary}, .out = folder.path / "out"});
    REQUIRE(outcome.problem.empty());
    REQUIRE(!outcome.all_invalid);
    return outcome.reused;
  };
  CHECK(reused({}, "batch.global=4,8") == 0);
  CHECK(reused({}, "batch.global=4,8") == 2);
  const std::string first = text_of(folder.path / "out/sweep.csv");
  CHECK(reused({}, "batch.global=8,12,4") == 2);
  CHECK(reused({"schedule=gpipe"}, "batch.global=4,8") == 0);
  // The cluster's file, which the job only names.
  const std::string cluster = text_of(folder.path / "cluster.yaml");
  write_text(folder.path / "cluster.yaml", cluster + "# changed\n");
  CHECK(reused({}, "batch.global=4,8") == 0);
  write_text(folder.path / "cluster.yaml", cluster);
  CHECK(reused({}, "batch.global=4,8") == 2);
  CHECK(text_of(folder.path / "out/sweep.csv") == first);
  // A file that only an override names.
  fs::copy(kRoot + "/workloads/models/synthetic-8.yaml", folder.path / "model.yaml");
  const std::string model = "model=" + (folder.path / "model.yaml").string();
  CHECK(reused({model}, "batch.global=4") == 0);
  CHECK(reused({model}, "batch.global=4") == 1);
  write_text(folder.path / "model.yaml", text_of(folder.path / "model.yaml") + "\n");
  CHECK(reused({model}, "batch.global=4") == 0);
}

TEST_CASE("sweep: killed half-way and started again, it writes the same bytes") {
  const TemporaryFolder folder("sweep_killed");
  const std::string job = write_job(folder.path);
  // The case in the middle reads its cluster from a pipe that nobody writes, and hangs.
  const fs::path cluster = folder.path / "cluster.yaml", pipe = folder.path / "pipe.yaml";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const std::string vary = "cluster,batch.global=" + cluster.string() + ":4," + cluster.string() +
                           ":8," + pipe.string() + ":12," + cluster.string() + ":16," +
                           cluster.string() + ":20";
  const fs::path broken = folder.path / "broken", journal = broken / "sweep.journal";
  const auto finished = [&] { return lines_of(text_of(journal)).size(); };
  const pid_t id = started(
      {WINDTUNNEL_PROGRAM, "sweep", job, "--vary", vary, "--jobs", "1", "--out", broken.string()});
  REQUIRE(comes_true([&] { return finished() >= 2; }));
  CHECK(error_of([&] { sweep({.job = job, .vary = {vary}, .out = broken}); }) ==
        "another sweep is writing '" + journal.string() + "'");
  ::kill(id, SIGKILL);
  CHECK(WTERMSIG(ended(id)) == SIGKILL);
  CHECK(finished() == 2);
  CHECK(!fs::exists(broken / "sweep.csv"));

  fs::remove(pipe);
  fs::copy(cluster, pipe);
  // As if the machine had died while it wrote a line.
  write_text(journal, text_of(journal) + "0123456789abcdef,4");
  const auto run = [&](const fs::path& out) {
    return ended(started(
        {WINDTUNNEL_PROGRAM, "sweep", job, "--vary", vary, "--jobs", "2", "--out", out.string()}));
  };
  CHECK(run(broken) == 0);
  CHECK(run(folder.path / "whole") == 0);
  CHECK(finished() == 5);  // two of before, three of now
  const std::string csv = text_of(broken / "sweep.csv");
  CHECK(lines_of(csv).size() == 6);
  CHECK(csv == text_of(folder.path / "whole/sweep.csv"));
}

TEST_CASE("sweep: progress moves on a terminal, also while a case runs, and nowhere else") {
  const TemporaryFolder folder("sweep_progress");
  const std::string job = write_job(folder.path);
  const fs::path pipe = folder.path / "pipe.yaml";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);  // a case that hangs
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  REQUIRE(terminal >= 0);
  REQUIRE(::grantpt(terminal) == 0);
  REQUIRE(::unlockpt(terminal) == 0);
  const std::string line = ::ptsname(terminal);
  const std::string command = "exec '" WINDTUNNEL_PROGRAM "' sweep '" + job +
                              "' --vary cluster=cluster.yaml," + pipe.string() +
                              " --jobs 1 --out '" + folder.path.string() + "/out' 2>";
  const pid_t id = started({"/bin/sh", "-c", command + line});
  std::string shown;
  const auto has_ticked = [&] {
    pollfd readable{terminal, POLLIN, 0};
    char buffer[4096];
    if (::poll(&readable, 1, 0) > 0)
      shown.append(buffer,
                   std::size_t(std::max<ssize_t>(0, ::read(terminal, buffer, sizeof buffer))));
    // Two different texts while the second of two cases runs.
    std::set<std::string> texts;
    const std::regex text(R"(1/2 cases, [^\r ]+ \w+)");
    for (std::sregex_iterator i(shown.begin(), shown.end(), text), end; i != end; ++i)
      texts.insert(i->str());
    return texts.size() >= 2;
  };
  CHECK(comes_true(has_ticked));
  ::kill(id, SIGKILL);
  ended(id);
  ::close(terminal);
  const std::string quiet = "'" WINDTUNNEL_PROGRAM "' sweep '" + job +
                            "' --vary batch.global=4,8 --out '" + folder.path.string() +
                            "/quiet' 2>'" + folder.path.string() + "/errors' >/dev/null";
  REQUIRE(std::system(quiet.c_str()) == 0);
  CHECK(text_of(folder.path / "errors").empty());
}

TEST_CASE("sweep: speed-up, efficiency, knee and the cheapest point") {
  const TemporaryFolder folder("sweep_table");
  const SweepOutcome outcome = sweep({.job = kRoot + "/workloads/llama3-70b-fsdp.yaml",
                                      .vary = {"gpus,parallel.data,batch.global="
                                               "64..256*2:64..256*2:64..256*2"},
                                      .out = folder.path});
  const Csv csv(folder.path / "sweep.csv");
  // The varied key and the result are one column.
  CHECK(std::count(csv.header.begin(), csv.header.end(), "gpus") == 1);
  CHECK(outcome.text.find("weak scaling: the batch grows with the GPUs\n"
                          "knee: 256 GPUs, the most with an efficiency of at least 80 %; the "
                          "largest that was tried\n") != std::string::npos);
  CHECK(outcome.text.find("cheapest: gpus ") != std::string::npos);
  CHECK(outcome.text.find(" per million tokens\n") != std::string::npos);

  // The batch stays: on 8 GPUs each has a single micro-batch of the four that one GPU has.
  const SweepOutcome strong = sweep({.job = kRoot + "/workloads/resnet-50-ethernet.yaml",
                                     .vary = {"gpus,parallel.data=1:1,2:2"},
                                     .out = folder.path});
  const Csv rows(folder.path / "sweep.csv");
  CHECK(strong.text.find("strong scaling: the batch stays\n") != std::string::npos);
  const double speed_up = rows.number(0, "step_time_s") / rows.number(1, "step_time_s");
  char row[64];
  std::snprintf(row, sizeof row, "%8.2f  %8.1f %%", speed_up, 50 * speed_up);
  CHECK(strong.text.find(row) != std::string::npos);
}

TEST_CASE("sweep: the ready sweeps run, and every case fits") {
  const TemporaryFolder folder("sweep_ready");
  const std::string environment =
      "WINDTUNNEL='" WINDTUNNEL_PROGRAM "' OUT='" + folder.path.string() + "' ";
  int count = 0;
  for (const auto& entry : fs::directory_iterator(kRoot + "/workloads/sweeps")) {
    INFO(entry.path());
    CHECK(status_of(environment + "'" + entry.path().string() + "'") == 0);
    const Csv csv(folder.path / entry.path().stem() / "sweep.csv");
    for (std::size_t row = 0; row < csv.rows.size(); ++row) CHECK(csv.at(row, "status") == "ok");
    ++count;
  }
  CHECK(count >= 4);
}

#ifdef WINDTUNNEL_MPIRUN
TEST_CASE("sweep: under mpirun the cases spread over the ranks") {
  const TemporaryFolder folder("sweep_ranks");
  const std::string arguments =
      "'" WINDTUNNEL_PROGRAM "' sweep '" + kPipelineJob +
      "' --vary schedule=gpipe,1f1b,naive --vary batch.global=4,8 --out '" + folder.path.string();
  const std::string mpirun =
      "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
      "OMPI_MCA_rmaps_base_oversubscribe=1 '" WINDTUNNEL_MPIRUN "' -n 3 ";
  REQUIRE(status_of(arguments + "/one'") == 0);
  REQUIRE(status_of(mpirun + arguments + "/three'") == 0);
  CHECK(lines_of(text_of(folder.path / "three/sweep.journal")).size() == 6);
  CHECK(text_of(folder.path / "three/sweep.csv") == text_of(folder.path / "one/sweep.csv"));
  // Everything is there already.
  REQUIRE(status_of(mpirun + arguments + "/three'") == 0);
  CHECK(lines_of(text_of(folder.path / "three/sweep.journal")).size() == 6);
}
#endif

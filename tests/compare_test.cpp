// The verb `compare`: its differences sum, and it says what is wrong with its input.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "catch.hpp"
#include "commands/compare.hpp"
#include "commands/compare_numbers.hpp"
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

void write_run(const fs::path& folder, const std::string& job_file,
               const std::vector<std::string>& overrides) {
  const Job job = load_job(kRoot + "/workloads/" + job_file, overrides);
  const Plan plan = build_plan(job);
  const Trace trace = simulate(plan, build_cluster(job.cluster, job.gpus), conditions_of(job));
  const Report report = summarize(job, plan, trace);
  fs::create_directories(folder);
  write_text(folder / "report.json", to_json(report, job));
  write_text(folder / "ranks.csv", ranks_csv(report));
}

std::string trace_of(const std::string& job_file) {
  const Job job = load_job(kRoot + "/workloads/" + job_file, {});
  const Plan plan = build_plan(job);
  const Cluster cluster = build_cluster(job.cluster, job.gpus);
  return chrome_trace(job, plan, simulate(plan, cluster, conditions_of(job)));
}

std::string error_of(const fs::path& a, const fs::path& b) {
  try {
    compare(a, b);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

void check_sums(const json& causes, const json& step) {
  REQUIRE(causes.size() == 12);
  for (const char* side : {"a", "b", "difference"}) {
    std::int64_t sum = 0;
    for (const json& cause : causes) sum += cause.at(side).get<std::int64_t>();
    CHECK(sum == step.at(side).get<std::int64_t>());
  }
}

// The columns of numbers of the table of causes, in its last digits; the last row is the sum.
std::vector<std::vector<long>> table_of(const std::string& text) {
  std::vector<std::vector<long>> rows;
  const std::regex number(R"([+-]?\d+\.\d{4}(?= |$))");
  bool is_inside = false;
  for (const std::string& line : lines_of(text)) {
    if (line.empty()) is_inside = false;
    if (is_inside) {
      rows.emplace_back();
      for (std::sregex_iterator i(line.begin(), line.end(), number), end; i != end; ++i) {
        std::string digits = i->str();
        digits.erase(digits.find('.'), 1);
        rows.back().push_back(std::strtol(digits.c_str(), nullptr, 10));
      }
    }
    is_inside |= line.rfind("step time by cause", 0) == 0;
  }
  return rows;
}

void check_table(const std::string& text, std::size_t columns) {
  const auto rows = table_of(text);
  REQUIRE(rows.size() >= 3);
  for (std::size_t column = 0; column < columns; ++column) {
    long sum = 0;
    for (std::size_t row = 0; row + 1 < rows.size(); ++row) {
      REQUIRE(rows[row].size() == columns);
      sum += rows[row][column];
    }
    CHECK(sum == rows.back()[column]);
  }
  for (const auto& row : rows) CHECK(row[1] - row[0] == row[2]);
}

}  // namespace

TEST_CASE("compare: differences by cause sum exactly to the difference in step time") {
  const TemporaryFolder folder("compare_sums");
  const fs::path a = folder.path / "a", b = folder.path / "b";
  write_run(a, "gpt3-175b-selene.yaml", {});
  write_run(b, "gpt3-175b-selene.yaml",
            {"recompute=full", "batch.micro=2", "parallel.zero_stage=1"});
  const Comparison comparison = compare(a, b);
  const json read = json::parse(comparison.json);
  const json report_a = json::parse(text_of(a / "report.json"));
  const json report_b = json::parse(text_of(b / "report.json"));
  const json& step = read.at("step_time_ps");
  CHECK(step.at("a").get<double>() == Approx(report_a.at("step_time_s").get<double>() * 1e12));
  CHECK(step.at("b").get<double>() == Approx(report_b.at("step_time_s").get<double>() * 1e12));
  check_sums(read.at("causes_ps"), step);
  check_sums(read.at("mean_causes_ps"), step);
  for (const json& cause : read.at("causes_ps")) {
    const double of_a = report_a.at("breakdown_s").at(cause.at("cause").get<std::string>());
    CHECK(cause.at("a").get<double>() == Approx(of_a * 1e12).margin(20));
  }
  CHECK(read.at("headline").at("mfu").at("b") == report_b.at("mfu"));
  check_table(comparison.text, 4);

  std::map<std::string, json> inputs;
  for (const json& input : read.at("inputs")) inputs[input.at("key")] = input;
  CHECK(inputs.size() == 4);
  CHECK(inputs.at("batch.micro").at("a") == 1);
  CHECK(inputs.at("batch.micro").at("b") == 2);
  CHECK(inputs.at("recompute").at("b") == "full");
}

TEST_CASE("compare: causes that are equal differ by 0, whatever rounding leaves over") {
  // In quanta of 0.1 s. A: 10 + 20 + 5 = 35 of 36 in 3.58 s; B: 10 + 20 + 6 = 36 of 36 in 3.64 s.
  const TimeParts a = {{"forward", 1.04}, {"backward", 2.04}, {"bubble", 0.5}};
  const TimeParts b = {{"forward", 1.04}, {"backward", 2.04}, {"bubble", 0.56}};
  const std::vector<Cause> causes = causes_of(a, 3.58, b, 3.64, 0.1);
  REQUIRE(causes.size() == 3);
  CHECK(causes[0].difference() == 0);
  CHECK(causes[1].difference() == 0);
  CHECK(causes[2].a == 6);
  CHECK(causes[2].b == 6);
  CHECK(sum_of(causes).a == 36);
  CHECK(sum_of(causes).b == 36);
}

TEST_CASE("compare: what rounding leaves over makes no time negative") {
  // A: 10 + 10 + 0 = 20 of 21. B: 10 + 10 + 1 = 21 of 20; the 1 too many is taken from what
  // differs.
  const TimeParts a = {{"forward", 1.04}, {"backward", 1.04}};
  const TimeParts b = {{"forward", 0.96}, {"backward", 0.96}, {"bubble", 0.06}};
  const std::vector<Cause> causes = causes_of(a, 2.08, b, 1.98, 0.1);
  REQUIRE(causes.size() == 3);
  CHECK(causes[0].difference() == 0);
  CHECK(causes[1].difference() == 0);
  CHECK(causes[2].a == 1);
  CHECK(causes[2].b == 0);
  // Nothing differs enough to take it: the largest does.
  const TimeParts c = {{"forward", 0.96}, {"backward", 1.96}, {"bubble", 0.0}};
  const TimeParts d = {{"forward", 0.96}, {"backward", 1.96}, {"bubble", 0.06}};
  const std::vector<Cause> others = causes_of(c, 2.92, d, 2.98, 0.1);
  CHECK(others[2].a == 0);
  CHECK(others[1].a == 19);
  CHECK(sum_of(others).a == 29);
  CHECK(sum_of(others).b == 30);
}

TEST_CASE("compare: runs of different kinds, and of milliseconds") {
  const TemporaryFolder folder("compare_kinds");
  const fs::path a = folder.path / "a", b = folder.path / "b";
  write_run(a, "zb-h1-teaching.yaml", {});
  write_run(b, "gpt2-124m-straggler.yaml", {});
  const Comparison comparison = compare(a, b);
  check_table(comparison.text, 4);
  CHECK(comparison.text.find("step time by cause, in ms") != std::string::npos);
  const json read = json::parse(comparison.json);
  check_sums(read.at("causes_ps"), read.at("step_time_ps"));
  check_sums(read.at("mean_causes_ps"), read.at("step_time_ps"));
  CHECK(comparison.text.find("so different ranks compare") != std::string::npos);
}

TEST_CASE("compare: a run with itself differs in nothing") {
  const TemporaryFolder folder("compare_self");
  const fs::path a = folder.path / "a", alone = folder.path / "report.json";
  write_run(a, "gpipe-vs-1f1b.yaml", {});
  fs::copy(a / "report.json", alone);
  // A report.json without ranks.csv beside it has no mean over ranks.
  const Comparison comparison = compare(a, alone);
  check_table(comparison.text, 3);
  const json read = json::parse(comparison.json);
  CHECK(read.at("mean_causes_ps").is_null());
  CHECK(read.at("inputs").empty());
  for (const json& cause : read.at("causes_ps")) CHECK(cause.at("difference") == 0);
  CHECK(comparison.text.find("the inputs that the reports show are the same") != std::string::npos);
}

TEST_CASE("compare: what cannot be compared is said") {
  const TemporaryFolder folder("compare_errors");
  const fs::path run = folder.path / "run", other = folder.path / "other";
  write_run(run, "gpipe-vs-1f1b.yaml", {});
  fs::create_directory(other);
  const std::string report = (other / "report.json").string();
  const std::string ranks = (other / "ranks.csv").string();
  CHECK(error_of(run, "nowhere") == "nowhere: error: no such folder or file");
  CHECK(error_of(other, run) == report + ": error: no such file");
  write_text(report, "[1, 2");
  CHECK(error_of(run, other) ==
        report + ": error: not a report.json of windtunnel simulate: no schema_version");
  json content = json::parse(text_of(run / "report.json"));
  content["schema_version"] = 7;
  write_text(report, content.dump());
  CHECK(error_of(run, other) ==
        report + ": error: schema_version 7, but this program reads 1: simulate again");
  content["schema_version"] = 1;
  write_text(report, content.dump());
  CHECK(error_of(run, other) == ranks + ": error: no such file");
  write_text(ranks, "");
  CHECK(error_of(run, other) == ranks + ": error: the file is empty");
  write_text(ranks, "rank,stage\n");
  CHECK(error_of(run, other) == ranks + ": error: no column 'represented'");
  const std::string header = lines_of(text_of(run / "ranks.csv")).front();
  const std::string columns = std::to_string(std::count(header.begin(), header.end(), ',') + 1);
  write_text(ranks, header + "\n0,1\n");
  CHECK(error_of(run, other) ==
        ranks + ": error: line 2: 2 columns, but the first line has " + columns);
  content["breakdown_s"]["bubble"] = 5.0;
  write_text(report, content.dump());
  CHECK(error_of(run, other).find(report + ": error: the parts of the time sum to 5.0") == 0);
  content["breakdown_s"]["bubble"] = "much";
  write_text(report, content.dump());
  CHECK(error_of(run, other) == report + ": error: no number 'bubble'");
  content.erase("breakdown_s");
  write_text(report, content.dump());
  CHECK(error_of(run, other) == report + ": error: no 'breakdown_s'");
}

TEST_CASE("compare: the page has both timelines and tables that sum") {
  const TemporaryFolder folder("compare_page");
  const fs::path a = folder.path / "a", b = folder.path / "b";
  write_run(a, "zb-h1-teaching.yaml", {});
  write_run(b, "gpt2-124m-straggler.yaml", {});
  const Comparison comparison = compare(a, b);
  const auto error = [&] {
    try {
      compare_page(comparison, a, b);
    } catch (const ConfigError& problem) {
      return std::string(problem.what());
    }
    return std::string("no error");
  };
  CHECK(error() == (a / "trace.json").string() + ": error: no such file");
  write_text(a / "trace.json", trace_of("zb-h1-teaching.yaml"));
  write_text(b / "trace.json", trace_of("gpt2-124m-straggler.yaml"));
  const std::string page = compare_page(comparison, a, b);
  const json data = json::parse(data_of_page(page));
  CHECK(data.at("comparison") == json::parse(comparison.json));
  for (const auto& [side, path] : {std::pair("a", a), std::pair("b", b)}) {
    std::map<int, std::size_t> slices, shown;
    const json trace = json::parse(text_of(path / "trace.json"));
    for (const json& event : trace.at("traceEvents"))
      if (event.at("ph") == "X" && event.at("cat") != "idle")
        ++slices[event.at("pid").get<int>() - 1];  // Perfetto keeps process 0
    for (const json& rank : data.at(side).at("ranks"))
      shown[rank.at("rank")] = rank.at("op").size();
    CHECK(shown == slices);
  }
  CHECK(page == compare_page(comparison, a, b));
  // Nothing of the data can end its element.
  CHECK(data_of_page(page).find('<') == std::string::npos);
}

TEST_CASE("compare: exit codes and the file of --json") {
  const TemporaryFolder folder("compare_program");
  write_run(folder.path, "gpipe-vs-1f1b.yaml", {});
  const std::string path = "'" + folder.path.string() + "'";
  const auto code = [](const std::string& arguments) {
    const std::string command = "'" WINDTUNNEL_PROGRAM "' compare " + arguments;
    return WEXITSTATUS(std::system((command + " >/dev/null 2>&1").c_str()));
  };
  CHECK(code(path + " " + path) == 0);
  CHECK(code(path + " /nowhere") == 2);
  CHECK(code(path) == 2);
  CHECK(code(path + " " + path + " --json " + path + "/difference.json") == 0);
  CHECK(json::parse(text_of(folder.path / "difference.json")).at("schema_version") == 1);
  CHECK(code(path + " " + path + " --json /nowhere/difference.json") == 1);
  // The page needs the trace.
  const fs::path out = folder.path / "page";
  CHECK(code(path + " " + path + " --out " + out.string()) == 2);
  CHECK(!fs::exists(out));
  write_text(folder.path / "trace.json", trace_of("gpipe-vs-1f1b.yaml"));
  CHECK(code(path + " " + path + " --out " + out.string()) == 0);
  CHECK(text_of(out / "compare.json") == text_of(folder.path / "difference.json"));
  CHECK(code(path + " " + path + " --out " + path + "/report.json") == 1);
}

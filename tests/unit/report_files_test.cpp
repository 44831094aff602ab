#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <tuple>

#include "catch.hpp"
#include "report/chrome_trace.hpp"
#include "report/compute_stream.hpp"
#include "report/html.hpp"
#include "report/report.hpp"
#include "unit/report_example.hpp"

using namespace windtunnel;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

Report example_report() {
  return summarize(example::job(), example::plan(), example::trace());
}

// A folder of this test program's own, removed with all that is in it.
struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / ("windtunnel_report_" + std::to_string(::getpid()));
  TemporaryFolder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~TemporaryFolder() { fs::remove_all(path); }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(path))
      names.insert(entry.path().filename().string());
    return names;
  }
};

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string written(const fs::path& folder) {
  return write_outputs(folder, example::job(), example::plan(), example::trace(), example_report());
}

std::vector<json> events_of(const json& trace, const std::string& phase) {
  std::vector<json> events;
  for (const json& event : trace.at("traceEvents"))
    if (event.at("ph") == phase) events.push_back(event);
  return events;
}

// Slices of ops, without the pauses.
std::vector<json> spans_of(const json& trace) {
  std::vector<json> slices = events_of(trace, "X");
  std::erase_if(slices, [](const json& slice) { return slice.at("cat") == "idle"; });
  return slices;
}

json example_trace() {
  return json::parse(chrome_trace(example::job(), example::plan(), example::trace()));
}

}  // namespace

TEST_CASE("report.json reads back as the report") {
  const Report report = example_report();
  const json read = json::parse(to_json(report, example::job()));
  CHECK(read.at("schema_version") == 1);
  CHECK(read.at("job") == "toy_job");
  CHECK(read.at("step_time_s") == 11.0);
  CHECK(read.at("samples_per_s") == report.samples_per_s);
  CHECK(read.at("tokens_per_s") == *report.tokens_per_s);
  CHECK(read.at("tokens_per_s_per_gpu") == *report.tokens_per_s / 8);
  CHECK(read.at("model_flops_per_step") == 48e12);
  CHECK(read.at("model_tflops_per_gpu").get<double>() == Approx(48.0 / 88));
  CHECK(read.at("hardware_tflops_per_gpu").get<double>() == Approx(56.0 / 88));
  CHECK(read.at("peak_tflops_per_gpu") == 1.0);
  CHECK(read.at("mfu") == *report.mfu);
  CHECK(read.at("hfu") == *report.hfu);
  CHECK(read.at("mfu_causal") == *report.mfu_causal);
  CHECK(read.at("bubble_fraction") == report.bubble_fraction);
  CHECK(read.at("critical_rank") == 0);
  CHECK(read.at("critical_stage") == 0);
  CHECK(read.at("usd_per_step") == report.cost_per_step->value);
  CHECK(read.at("usd_per_million_tokens") == report.cost_per_million_tokens->value);
  CHECK(read.at("usd_per_run") == report.cost_of_run->value);
  CHECK(read.at("run_time_s") == 2750.0);  // 250 steps
  CHECK(read.at("energy_j_per_step") == report.energy_per_step->value);

  const json& time = read.at("breakdown_s");
  CHECK(time.size() == 12);
  CHECK(time.at("bubble") == 3.0);
  double sum = 0;
  for (const auto& [key, part] : time.items()) sum += part.get<double>();
  CHECK(sum == 11.0);

  // Mean of both stages: tensor 1 and 1, pipeline 0.5 and 0.25, data 1 and 1.
  CHECK(
      read.at("exposed_comm_s") ==
      json{{"tensor", 1.0}, {"pipeline", 0.375}, {"data", 1.0}, {"other", 0.0}, {"total", 2.375}});
  REQUIRE(read.at("memory_bytes").size() == 2);
  CHECK(read.at("memory_bytes")[1] == json{{"stage", 1},
                                           {"weights", 1'000'000'000},
                                           {"gradients", 1'000'000'000},
                                           {"optimizer", 3'000'000'000},
                                           {"activations", 500'000'000},
                                           {"buffers", 200'000'000},
                                           {"logits", 0},
                                           {"framework", 0},
                                           {"fragmentation", 0},
                                           {"total", 5'700'000'000},
                                           {"capacity", 8'000'000'000}});
  CHECK(read.at("inputs").at("parameters") == 2'000'000'000);
  CHECK(read.at("inputs").at("layout").at("rank_order") == json{"tensor", "data", "pipeline"});
  CHECK(read.at("inputs").at("batch").at("micro_batches") == 2);
  CHECK(read.at("assumptions").at("price").at("usd_per_node_hour") == 8.0);
  CHECK(read.at("assumptions").at("nodes")[0].at("source") == "invented");
}

TEST_CASE("report.json says null for what is not known, under the same keys") {
  Job job = example::job();
  const json known = json::parse(to_json(example_report(), job));
  job.price = std::nullopt;
  job.cluster.power = std::nullopt;
  job.total_tokens = std::nullopt;
  job.cluster.node_types[0].gpu.peak = {};
  const Report report = summarize(job, example::plan(), example::trace());
  const json unknown = json::parse(to_json(report, job));
  for (const char* key :
       {"mfu", "hfu", "mfu_causal", "model_tflops_per_gpu", "peak_tflops_per_gpu", "usd_per_step",
        "usd_per_million_tokens", "usd_per_run", "run_time_s", "energy_j_per_step"})
    CHECK(unknown.at(key).is_null());
  for (const auto& [key, value] : known.items()) CHECK(unknown.contains(key));
  CHECK(known.size() == unknown.size());
}

TEST_CASE("report.json names what was made to disturb the step") {
  Job job = example::job();
  const json calm = json::parse(to_json(example_report(), job)).at("inputs");
  CHECK(calm.at("stragglers") == json::array());
  CHECK(calm.at("noise").is_null());
  job.stragglers = {{.rank = 5, .slowdown = 1.5}};
  job.noise = Noise{.seed = 7, .amplitude = 0.1};
  const json inputs = json::parse(to_json(example_report(), job)).at("inputs");
  CHECK(inputs.at("stragglers") == json::parse(R"([{"rank": 5, "slowdown": 1.5}])"));
  CHECK(inputs.at("noise") == json::parse(R"({"seed": 7, "amplitude": 0.1})"));
}

TEST_CASE("the same inputs give the same bytes") {
  CHECK(to_json(example_report(), example::job()) == to_json(example_report(), example::job()));
  CHECK(chrome_trace(example::job(), example::plan(), example::trace()) ==
        chrome_trace(example::job(), example::plan(), example::trace()));
}

TEST_CASE("names that JSON must escape") {
  Job job = example::job();
  job.name = "a \"quoted\" \\ name\n";
  job.cluster.name = "not UTF-8: \xff";
  const Report report = summarize(job, example::plan(), example::trace());
  CHECK(json::parse(to_json(report, job)).at("job") == job.name);
  const json trace = json::parse(chrome_trace(job, example::plan(), example::trace()));
  CHECK(trace.at("otherData").at("job") == job.name);
}

TEST_CASE("ranks.csv of the example") {
  CHECK(ranks_csv(example_report()) ==
        "rank,represented,stage,forward_s,backward_s,input_gradient_s,weight_gradient_s,"
        "recompute_s,optimizer_s,kernels_s,tensor_communication_s,pipeline_transfer_s,"
        "data_communication_s,other_communication_s,bubble_s,weights_bytes,gradients_bytes,"
        "optimizer_bytes,activations_bytes,buffers_bytes,logits_bytes,framework_bytes,"
        "fragmentation_bytes,memory_bytes,"
        "capacity_bytes\n"
        "0,4,0,1.5,2.5,0,0,1,0.5,0,1,0.5,1,0,3,1000000000,1000000000,3000000000,1000000000,"
        "200000000,0,0,0,6200000000,8000000000\n"
        "4,4,1,1.5,2.5,0,0,1,0.5,0,1,0.25,1,0,3.25,1000000000,1000000000,3000000000,500000000,"
        "200000000,0,0,0,5700000000,8000000000\n");
}

TEST_CASE("trace.json: a slice for each span, on threads named after the streams") {
  const json trace = example_trace();
  std::map<std::pair<int, int>, std::string> thread_names;
  std::map<int, std::string> process_names;
  for (const json& event : events_of(trace, "M")) {
    if (event.at("name") == "process_name")
      process_names[event.at("pid")] = event.at("args").at("name");
    if (event.at("name") == "thread_name")
      thread_names[{event.at("pid"), event.at("tid")}] = event.at("args").at("name");
  }
  CHECK(process_names ==
        std::map<int, std::string>{{1, "rank 0 (stage 0) x4"}, {5, "rank 4 (stage 1) x4"}});

  const std::vector<json> slices = spans_of(trace);
  REQUIRE(slices.size() == 20);
  for (const json& slice : slices) CHECK(thread_names.contains({slice.at("pid"), slice.at("tid")}));
  const json& forward = slices.front();
  CHECK(forward.at("name") == "0F0");
  CHECK(forward.at("ts") == 0.0);
  CHECK(forward.at("dur") == 1e6);
  CHECK(forward.at("args") == json{{"purpose", "forward"},
                                   {"stage", 0},
                                   {"micro_batch", 0},
                                   {"layers", "0-0"},
                                   {"tensor_communication_us", 0.25e6}});
  const auto sent = std::find_if(slices.begin(), slices.end(), [](const json& slice) {
    return slice.at("name") == "send 0F0 to 1";
  });
  REQUIRE(sent != slices.end());
  CHECK(sent->at("args").at("bytes") == 4'000'000);
  CHECK(thread_names.at({1, sent->at("tid")}) == "send activation");
}

TEST_CASE("trace.json: compute and pauses fill the step, and pauses are named by their cause") {
  const json trace = example_trace();
  std::map<std::pair<int, int>, std::string> threads;
  for (const json& event : events_of(trace, "M"))
    if (event.at("name") == "thread_name")
      threads[{event.at("pid"), event.at("tid")}] = event.at("args").at("name");
  std::map<int, double> filled;
  std::set<std::string> causes;
  for (const json& slice : events_of(trace, "X")) {
    const std::string thread = threads.at({slice.at("pid"), slice.at("tid")});
    CHECK((thread == "idle") == (slice.at("cat") == "idle"));
    if (thread == "idle") causes.insert(slice.at("name"));
    if (thread == "idle" || thread == "compute")
      filled[slice.at("pid")] += slice.at("dur").get<double>();
  }
  const double step = example::trace().end.value * 1e6;
  CHECK(filled == std::map<int, double>{{1, step}, {5, step}});
  for (const std::string& cause : causes)
    CHECK(std::find(kIdleCauseNames.begin(), kIdleCauseNames.end(), cause) !=
          kIdleCauseNames.end());
  CHECK(causes.contains("warm_up"));
}

TEST_CASE("trace.json: slices of a thread do not overlap") {
  // Two messages arrive at once, from 0 to 2 and 1 to 3; a third from 2 to 4 has room again.
  Job job = example::job();
  Plan plan = example::plan();
  plan.programs.resize(1);
  plan.programs[0].ops = {example::message(OpKind::Receive, Purpose::Gradient, 1, 0, 1),
                          example::message(OpKind::Receive, Purpose::Gradient, 1, 1, 1),
                          example::message(OpKind::Receive, Purpose::Gradient, 1, 2, 1)};
  const Trace trace{.ranks = {{.spans = {example::span(0, 0, 2), example::span(1, 1, 3),
                                         example::span(2, 2, 4)}}},
                    .end = Seconds(4)};
  const json read = json::parse(chrome_trace(job, plan, trace));
  const std::vector<json> slices = spans_of(read);
  REQUIRE(slices.size() == 3);
  CHECK(slices[0].at("tid") == slices[2].at("tid"));
  CHECK(slices[0].at("tid") != slices[1].at("tid"));
  std::set<std::string> names;
  for (const json& event : events_of(read, "M"))
    if (event.at("name") == "thread_name") names.insert(event.at("args").at("name"));
  CHECK(names == std::set<std::string>{"idle", "receive", "receive 2"});
}

TEST_CASE("trace.json: an arrow from each send to its receive") {
  const json trace = example_trace();
  // By process, thread and start: the slices that arrows may end in.
  std::map<std::tuple<int, int, double>, std::string> slices;
  for (const json& slice : events_of(trace, "X"))
    slices[{slice.at("pid"), slice.at("tid"), slice.at("ts")}] = slice.at("name");
  const auto slice_at = [&slices](const json& end) {
    return slices.at({end.at("pid"), end.at("tid"), end.at("ts")});
  };
  std::map<int, std::string> from, to;
  std::map<int, double> left;
  for (const json& end : events_of(trace, "s")) {
    CHECK(from.emplace(end.at("id"), slice_at(end)).second);
    left[end.at("id")] = end.at("ts");
  }
  for (const json& end : events_of(trace, "f")) {
    CHECK(to.emplace(end.at("id"), slice_at(end)).second);
    CHECK(end.at("bp") == "e");
    CHECK(end.at("ts").get<double>() >= left.at(end.at("id")));
  }
  CHECK(from == std::map<int, std::string>{{0, "send 0F0 to 1"},
                                           {1, "send 0F1 to 1"},
                                           {2, "send 1B0 to 0"},
                                           {3, "send 1B1 to 0"}});
  CHECK(to == std::map<int, std::string>{{0, "receive 0F0 from 0"},
                                         {1, "receive 0F1 from 0"},
                                         {2, "receive 1B0 from 1"},
                                         {3, "receive 1B1 from 1"}});
}

TEST_CASE("trace.json: with every rank shown, messages stay within their replica") {
  Trace trace = example::trace();
  for (RankTrace& rank : trace.ranks) rank.represented = 1;
  // Ranks 2 and 6 are the other data replica's.
  trace.ranks.insert(trace.ranks.begin() + 1, trace.ranks[0]);
  trace.ranks[1].rank = 2;
  trace.ranks.push_back(trace.ranks[2]);
  trace.ranks[3].rank = 6;
  const json read = json::parse(chrome_trace(example::job(), example::plan(), trace));
  std::map<int, int> sender;
  for (const json& end : events_of(read, "s")) sender[end.at("id")] = end.at("pid");
  CHECK(sender.size() == 8);
  for (const json& end : events_of(read, "f"))
    CHECK(std::abs(end.at("pid").get<int>() - sender.at(end.at("id"))) == 4);
}

TEST_CASE("trace.json: memory over time returns to where it began") {
  for (const int rank : {0, 4}) {
    std::vector<json> counters;
    for (const json& event : events_of(example_trace(), "C"))
      if (event.at("pid") == rank + 1) counters.push_back(event);
    REQUIRE(counters.size() > 2);
    double before = -1, highest = 0;
    for (const json& counter : counters) {
      CHECK(counter.at("ts").get<double>() > before);
      before = counter.at("ts");
      double sum = 0;
      for (const auto& [kind, bytes] : counter.at("args").items()) sum += bytes.get<double>();
      highest = std::max(highest, sum);
    }
    CHECK(counters.back().at("args") == json{{"weights", 1'000'000'000},
                                             {"gradients", 1'000'000'000},
                                             {"optimizer", 3'000'000'000},
                                             {"activations", 0},
                                             {"buffers", 0},
                                             {"logits", 0},
                                             {"framework", 0},
                                             {"fragmentation", 0}});
    CHECK(highest == (rank == 0 ? 6.2e9 : 5.7e9));
  }
}

TEST_CASE("trace.json in pieces is the whole") {
  // More than a megabyte: 100 ranks of 100 copies each of the example's spans.
  Trace trace = example::trace();
  const std::vector<Span> spans = trace.ranks[0].spans;
  trace.ranks.resize(1);
  for (int copy = 0; copy < 1000; ++copy)
    trace.ranks[0].spans.insert(trace.ranks[0].spans.end(), spans.begin(), spans.end());
  std::string whole;
  int pieces = 0;
  write_chrome_trace(example::job(), example::plan(), trace, [&](std::string_view piece) {
    whole += piece;
    ++pieces;
  });
  CHECK(pieces > 4);
  CHECK(whole == chrome_trace(example::job(), example::plan(), trace));
  CHECK(spans_of(json::parse(whole)).size() == 10010);
}

TEST_CASE("the outputs are written, over those of an earlier run") {
  const TemporaryFolder folder;
  const fs::path out = folder.path / "made" / "if absent";
  REQUIRE(written(out) == "");
  std::ofstream(out / "report.json") << "from before";
  REQUIRE(written(out) == "");
  CHECK(text_of(out / "report.json") == to_json(example_report(), example::job()));
  CHECK(text_of(out / "ranks.csv") == ranks_csv(example_report()));
  CHECK(text_of(out / "trace.json") ==
        chrome_trace(example::job(), example::plan(), example::trace()));
  CHECK(text_of(out / "report.html") ==
        html(example::job(), example::plan(), example::trace(), example_report()));
  CHECK(std::distance(fs::directory_iterator(out), {}) == 4);
}

TEST_CASE("a folder that is a file, or below one") {
  const TemporaryFolder folder;
  const fs::path file = folder.path / "file";
  std::ofstream(file) << "text";
  CHECK(written(file) == "cannot make the folder '" + file.string() + "': Not a directory");
  CHECK(written(file / "below") ==
        "cannot make the folder '" + (file / "below").string() + "': Not a directory");
  CHECK(text_of(file) == "text");
}

TEST_CASE("a full disk leaves the files of an earlier run and no others") {
  const TemporaryFolder folder;
  REQUIRE(written(folder.path) == "");
  const std::set<std::string> before = folder.files();
  // /dev/full refuses every byte, here of the last of the four files.
  const std::string temporary = ".report.html." + std::to_string(::getpid()) + ".tmp";
  fs::create_symlink("/dev/full", folder.path / temporary);
  CHECK(written(folder.path) ==
        "cannot write '" + (folder.path / "report.html").string() + "': No space left on device");
  CHECK(folder.files() == before);
  CHECK(fs::exists("/dev/full"));
  CHECK(written(folder.path) == "");
}

TEST_CASE("a file that cannot be replaced") {
  const TemporaryFolder folder;
  fs::create_directory(folder.path / "ranks.csv");
  CHECK(written(folder.path) ==
        "cannot write '" + (folder.path / "ranks.csv").string() + "': Is a directory");
  CHECK(folder.files() == std::set<std::string>{"ranks.csv", "report.json"});
}

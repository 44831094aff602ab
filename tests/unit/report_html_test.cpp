#include "report/html.hpp"

#include <nlohmann/json.hpp>
#include <regex>
#include <string>

#include "catch.hpp"
#include "report/compute_stream.hpp"
#include "report/critical_path.hpp"
#include "report/page_data.hpp"
#include "unit/report_example.hpp"

using namespace windtunnel;
using nlohmann::json;

namespace {

std::string example_page(const Job& job = example::job()) {
  const Report report = summarize(job, example::plan(), example::trace());
  return html(job, example::plan(), example::trace(), report);
}

// What stands between two marks that follow one another.
std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const std::size_t begin = text.find(from);
  REQUIRE(begin != std::string::npos);
  const std::size_t end = text.find(to, begin + from.size());
  REQUIRE(end != std::string::npos);
  return text.substr(begin + from.size(), end - begin - from.size());
}

// As a browser reads it: up to the first end tag, whatever it stands in.
json data_of(const std::string& page) {
  return json::parse(between(page, R"(<script type="application/json" id="data">)", "</script"));
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

std::vector<Idle> idle_of(const Plan& plan, const Trace& trace, int rank) {
  std::vector<Idle> idle;
  const TraceIndex index(plan, trace);
  const auto program = std::size_t(trace.ranks[std::size_t(rank)].program);
  sweep_compute_stream(index, rank, queued_behind(plan.programs[program]), trace.end,
                       {[&idle](const Idle& pause) { idle.push_back(pause); },
                        [](const Op&, const Span&, Seconds) {}});
  std::sort(idle.begin(), idle.end(),
            [](const Idle& a, const Idle& b) { return a.begin < b.begin; });
  return idle;
}

using Pause = std::tuple<double, double, IdleCause, int>;
std::vector<Pause> pauses_of(const Plan& plan, const Trace& trace, int rank) {
  std::vector<Pause> pauses;
  for (const Idle& idle : idle_of(plan, trace, rank))
    pauses.emplace_back(idle.begin.value, idle.end.value, idle.cause, idle.awaited);
  return pauses;
}

// "0.2F0": the rank and the op of each span of the critical path, from the last.
std::vector<std::string> path_names(const Plan& plan, const Trace& trace) {
  const TraceIndex index(plan, trace);
  std::vector<std::string> names;
  for (const SpanRef& ref : critical_path(trace, awaited_spans(plan, trace, index))) {
    const Span& span = index.spans(ref.rank)[std::size_t(ref.span)];
    names.push_back(std::to_string(trace.ranks[std::size_t(ref.rank)].rank) + ": " +
                    op_name(index.op(ref.rank, span)));
  }
  return names;
}

}  // namespace

TEST_CASE("report.html holds report.json") {
  const Report report = summarize(example::job(), example::plan(), example::trace());
  const json data = data_of(example_page());
  CHECK(data.at("report") == json::parse(to_json(report, example::job())));
  CHECK(data.at("step") == 11'000'000'000'000);
}

TEST_CASE("report.html holds every span, in picoseconds") {
  const json data = data_of(example_page());
  REQUIRE(data.at("ranks").size() == 2);
  const json& rank = data.at("ranks")[0];
  CHECK(rank.at("rank") == 0);
  CHECK(rank.at("represented") == 4);
  CHECK(rank.at("op") == json{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(rank.at("start")[0] == 0);
  CHECK(rank.at("start")[4] == 2'250'000'000'000);  // from 2 to 4.25
  CHECK(rank.at("duration")[5] == 2'000'000'000'000);
  CHECK(rank.at("recompute")[5] == 500'000'000'000);
  CHECK(rank.at("communication")[5] == 250'000'000'000);
  const json& program = data.at("programs")[0];
  CHECK(program.at("name")[0] == "0F0");
  CHECK(program.at("bytes")[1] == 4e6);
}

TEST_CASE("report.html needs nothing beside it") {
  const std::string page = example_page();
  // A namespace of SVG is a name, no address.
  const std::regex loads(R"((src|href|action|poster)\s*=\s*["']?\s*(https?:)?//)");
  CHECK(!std::regex_search(page, loads));
  CHECK(page.find("@import") == std::string::npos);
  CHECK(count(page, "<script") == count(page, "</script>"));
  CHECK(page.find("default-src 'none'") != std::string::npos);
  CHECK(page.find("Redistribution and use in source and binary forms") != std::string::npos);
  for (const char* mark : {"@LICENSE@", "@STYLE@", "@DATA@", "@D3@", "@SCRIPTS@"})
    CHECK(page.find(mark) == std::string::npos);
  CHECK(page.size() > 300'000);  // d3 is in it
  CHECK(page.size() < 500'000);
}

TEST_CASE("names in report.html cannot break out of the data") {
  Job job = example::job();
  job.name = "</script><script>alert(1)</script> <!-- \" \\ \xff";
  job.model.name = "</SCRIPT >";
  job.model.source = "<img src=x onerror=alert(1)>";
  job.cluster.name = "]]></script>";
  const std::string page = example_page(job);
  CHECK(count(page, "<script") == count(example_page(), "<script"));
  CHECK(page.find("alert(1)</script>") == std::string::npos);
  CHECK(page.find("<img") == std::string::npos);
  const json data = data_of(page);
  CHECK(data.at("report").at("inputs").at("model") == "</SCRIPT >");
  CHECK(data.at("report").at("assumptions").at("model_source") == "<img src=x onerror=alert(1)>");
}

TEST_CASE("the same inputs give the same page") {
  CHECK(example_page() == example_page());
}

TEST_CASE("a page with too many spans shows a rank of every stage and the critical path") {
  // 60 more ranks of stage 0 with 1,000 copies of its spans each.
  Trace trace = example::trace();
  RankTrace many = trace.ranks[0];
  for (int copy = 1; copy < 1000; ++copy)
    many.spans.insert(many.spans.end(), trace.ranks[0].spans.begin(), trace.ranks[0].spans.end());
  Job job = example::job();
  Plan plan = example::plan();
  plan.grid.data = 32;
  job.gpus = plan.grid.size();
  job.cluster.type_of_node.assign(32, 0);
  for (int rank = 8; rank < 68; ++rank) {
    many.rank = rank;
    trace.ranks.push_back(many);
  }
  std::string text;
  write_page_data(job, plan, trace, summarize(job, plan, trace),
                  [&text](std::string_view piece) { text += piece; });
  const json data = json::parse(text);
  CHECK(data.at("ranks_of_trace") == 62);
  std::size_t spans = 0;
  for (const json& rank : data.at("ranks")) spans += rank.at("op").size();
  CHECK(spans <= kMostSpansOfPage);
  CHECK(data.at("ranks").size() < 62);
  CHECK(data.at("ranks")[0].at("rank") == 0);
  CHECK(data.at("ranks")[1].at("rank") == 4);
}

TEST_CASE("time, bubbles by cause and shares of the cost add up") {
  const json data = data_of(example_page());
  REQUIRE(data.at("time").size() == 2);
  for (const json& row : data.at("time")) {
    double parts = 0, bubble = 0;
    for (const auto& [key, seconds] : row.at("parts_s").items()) parts += seconds.get<double>();
    for (const auto& [key, seconds] : row.at("bubble_s").items()) bubble += seconds.get<double>();
    CHECK(parts == Approx(11));
    CHECK(bubble == Approx(row.at("parts_s").at("bubble").get<double>()));
  }
  // Of 22 s of both stages: recompute 2, bubble 6.25, communication 4.75.
  const json& split = data.at("split");
  CHECK(split.at("recomputation").get<double>() == Approx(2.0 / 22));
  CHECK(split.at("bubble").get<double>() == Approx(6.25 / 22));
  CHECK(split.at("exposed_communication").get<double>() == Approx(4.75 / 22));
  CHECK(split.at("useful").get<double>() == Approx(9.0 / 22));
}

TEST_CASE("memory over time ends where it began and reaches the peak") {
  const json stages = data_of(example_page()).at("memory");
  REQUIRE(stages.size() == 2);
  for (const json& stage : stages) {
    const json& activations = stage.at("bytes").at("activations");
    const json& buffers = stage.at("bytes").at("buffers");
    REQUIRE(activations.size() == stage.at("time").size());
    CHECK(activations.back() == 0);
    double highest = 0;
    for (std::size_t i = 0; i < activations.size(); ++i)
      highest = std::max(highest, 5e9 + activations[i].get<double>() + buffers[i].get<double>());
    CHECK(highest == (stage.at("stage") == 0 ? 6.2e9 : 5.7e9));
  }
}

TEST_CASE("idle time has causes") {
  using enum IdleCause;
  // See the picture in report_example.hpp. Ops 4 and 6 of stage 0 are its receives, 8 reduces.
  CHECK(pauses_of(example::plan(), example::trace(), 0) ==
        std::vector<Pause>{{2, 4.25, LateSender, 4},
                           {4.25, 4.5, PipelineTransfer, 4},
                           {6.5, 7.25, LateSender, 6},
                           {7.25, 7.5, PipelineTransfer, 6},
                           {9.5, 10.5, DataCommunication, 8}});
  CHECK(pauses_of(example::plan(), example::trace(), 1) ==
        std::vector<Pause>{{0, 1, WarmUp, 0},
                           {1, 1.25, PipelineTransfer, 0},
                           {7.25, 8.25, DataCommunication, 8},
                           {8.75, 11, Drain, -1}});
}

TEST_CASE("waiting for a member that joins late is a straggler's time, not drain") {
  // The reduction of stage 1 begins 0.5 s after this rank is ready.
  Trace trace = example::trace();
  for (Span& span : trace.ranks[1].spans)
    if (span.op >= 8) span.start += Seconds(0.5), span.end += Seconds(0.5);
  const std::vector<Pause> pauses = pauses_of(example::plan(), trace, 1);
  REQUIRE(pauses.size() == 5);
  CHECK(pauses[2] == Pause{7.25, 7.75, IdleCause::LateMember, 8});
  CHECK(pauses[3] == Pause{7.75, 8.75, IdleCause::DataCommunication, 8});
}

TEST_CASE("the critical path goes over messages and collectives") {
  CHECK(path_names(example::plan(), example::trace()) ==
        std::vector<std::string>{"0: optimizer", "0: all_reduce data 2 GB", "0: 0B1",
                                 "0: receive 1B1 from 1", "4: send 1B1 to 0", "4: 1B1", "4: 1F1",
                                 "4: 1B0", "4: 1F0", "4: receive 0F0 from 0", "0: send 0F0 to 1",
                                 "0: 0F0"});
}

TEST_CASE("a collective waits for its last member") {
  // Two ranks of one stage; the second computes 3 s longer before the reduction of both.
  Plan plan;
  plan.grid = {.data = 2, .shard_ranks = 2};
  plan.programs.push_back(
      {.ops = {example::compute(Purpose::Backward, 0, 0, {}),
               example::reduction(Purpose::GradientReduction, {0}), example::optimizer({1})}});
  const auto rank = [](int number, double end) {
    return RankTrace{
        .rank = number,
        .spans = {example::span(0, 0, end), example::span(1, 4, 5), example::span(2, 5, 6)}};
  };
  const Trace trace{.ranks = {rank(0, 1), rank(1, 4)}, .end = Seconds(6)};
  CHECK(path_names(plan, trace) ==
        std::vector<std::string>{"0: optimizer", "0: all_reduce data 2 GB", "1: 0B0"});
  CHECK(pauses_of(plan, trace, 0) == std::vector<Pause>{{1, 4, IdleCause::LateMember, 1},
                                                        {4, 5, IdleCause::DataCommunication, 1}});
}

TEST_CASE("a blocking receive waits for its sender") {
  // Stage 1 holds its stream for the message of the second forward pass, which comes 2 s late.
  Plan plan = example::plan();
  plan.programs[1].ops[4].stream = Stream::Compute;
  const Trace trace{.ranks = {{.rank = 4,
                               .represented = 4,
                               .program = 1,
                               .spans = {example::span(0, 1, 1.25), example::span(1, 1.25, 2.25),
                                         example::span(2, 2.25, 4.25), example::span(4, 6.25, 6.5),
                                         example::span(5, 6.5, 7.5)}}},
                    .end = Seconds(7.5)};
  const std::vector<Pause> pauses = pauses_of(plan, trace, 0);
  REQUIRE(pauses.size() == 3);
  CHECK(pauses[2] == Pause{4.25, 6.25, IdleCause::LateSender, 4});
}

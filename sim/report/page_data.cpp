#include "report/page_data.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <numeric>

#include "report/compute_stream.hpp"
#include "report/critical_path.hpp"
#include "report/format.hpp"
#include "report/memory_course.hpp"
#include "report/page.hpp"
#include "report/page_parts.hpp"
#include "report/trace_index.hpp"

namespace windtunnel {

namespace {

using Json = nlohmann::ordered_json;
using Sink = std::function<void(std::string_view)>;

constexpr int kMemoryBins = 400;  // finer than a plot is wide

std::string text_of(const Json& json) {
  // Names come from file names, which need not be valid UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// "name":[1,2,3]
template <class Values, class Number>
void put_column(std::string& out, std::string_view name, const Values& values,
                const Number& number) {
  fmt::format_to(std::back_inserter(out), "\"{}\":[", name);
  bool is_first = true;
  for (const auto& value : values) {
    fmt::format_to(std::back_inserter(out), "{}{}", is_first ? "" : ",", number(value));
    is_first = false;
  }
  out += ']';
}

template <std::size_t N>
Json names(const std::array<std::string_view, N>& list) {
  return std::vector<std::string>(list.begin(), list.end());
}

// ---- programs and spans -------------------------------------------------------------------------

Json program_json(const Program& program) {
  Json json = {{"stage", program.pipeline}};
  for (const Op& op : program.ops) {
    json["name"].push_back(op_name(op));
    json["kind"].push_back(int(op.kind));
    json["stream"].push_back(int(op.stream));
    json["purpose"].push_back(int(op.purpose));
    json["bytes"].push_back(op.kind == OpKind::Compute ? 0.0 : op.bytes.value);
    json["collective"].push_back(op.kind == OpKind::Collective ? int(op.collective) : -1);
    json["layers"].push_back(
        op.first_layer < 0 ? "" : fmt::format("{}-{}", op.first_layer, op.end_layer - 1));
  }
  return json;
}

// Everything that the timeline is drawn from.
struct Picture {
  const Plan& plan;
  const Trace& trace;
  TraceIndex index;
  AwaitedSpans awaited;
  std::vector<std::vector<Idle>> idle;  // by index into the trace's ranks
};

Picture picture_of(const Plan& plan, const Trace& trace) {
  Picture picture{plan, trace, {plan, trace}, {}, {}};
  picture.awaited = awaited_spans(plan, trace, picture.index);
  std::vector<std::vector<int>> behind;
  for (const Program& program : plan.programs) behind.push_back(queued_behind(program));
  for (int i = 0; i < int(trace.ranks.size()); ++i) {
    const auto program = std::size_t(trace.ranks[std::size_t(i)].program);
    picture.idle.push_back(pauses(picture.index, i, behind[program], trace.end));
  }
  return picture;
}

// Indices of the ranks that a page shows: all, or where their spans are too many first one of each
// pipeline coordinate, then those of the critical path, then as many of one coordinate as of
// another.
std::vector<int> ranks_to_show(const Picture& picture) {
  std::map<std::pair<int, int>, int> in_turn;  // by place among its coordinate's; coordinate
  std::vector<int> seen_of_program(picture.plan.programs.size());
  for (int i = 0; i < int(picture.trace.ranks.size()); ++i) {
    const int program = picture.trace.ranks[std::size_t(i)].program;
    in_turn[{seen_of_program[std::size_t(program)]++, program}] = i;
  }
  std::vector<int> wanted;
  for (const auto& [turn, rank] : in_turn)
    if (turn.first == 0) wanted.push_back(rank);
  for (const SpanRef& span : critical_path(picture.trace, picture.awaited))
    wanted.push_back(span.rank);
  for (const auto& [turn, rank] : in_turn) wanted.push_back(rank);
  std::vector<int> shown;
  std::vector<bool> seen(picture.trace.ranks.size());
  std::size_t spans = 0;
  for (const int rank : wanted) {
    if (seen[std::size_t(rank)]) continue;
    seen[std::size_t(rank)] = true;
    spans += picture.index.spans(rank).size();
    if (spans > kMostSpansOfPage && !shown.empty()) break;
    shown.push_back(rank);
  }
  std::sort(shown.begin(), shown.end());
  return shown;
}

// Of one rank by time: the spans' order, and their numbers on the page.
struct RankOrder {
  std::vector<int> spans;   // by start
  std::vector<int> number;  // by span; counts all spans of the page
};

std::map<int, RankOrder> orders_of(const Picture& picture, const std::vector<int>& shown) {
  std::map<int, RankOrder> orders;
  int next = 0;
  for (const int rank : shown) {
    const std::vector<Span>& spans = picture.index.spans(rank);
    RankOrder& order = orders[rank];
    order.spans.resize(spans.size());
    std::iota(order.spans.begin(), order.spans.end(), 0);
    std::stable_sort(order.spans.begin(), order.spans.end(), [&spans](int a, int b) {
      return spans[std::size_t(a)].start < spans[std::size_t(b)].start;
    });
    order.number.resize(spans.size());
    for (const int span : order.spans) order.number[std::size_t(span)] = next++;
  }
  return orders;
}

// Starts are written as differences, which are short.
std::string rank_text(const Picture& picture, int index, const std::map<int, RankOrder>& orders) {
  const RankTrace& rank = picture.trace.ranks[std::size_t(index)];
  const RankOrder& order = orders.at(index);
  const auto span = [&rank](int i) -> const Span& { return rank.spans[std::size_t(i)]; };
  const auto duration = [](const auto& a) { return rounded(a.end) - rounded(a.begin); };
  std::string out = fmt::format(R"({{"rank":{},"represented":{},"program":{},)", rank.rank,
                                rank.represented, rank.program);
  put_column(out, "op", order.spans, [&](int i) { return span(i).op; });
  Picoseconds before = 0;
  put_column(out += ',', "start", order.spans, [&](int i) {
    const Picoseconds start = rounded(span(i).start);
    return start - std::exchange(before, start);
  });
  put_column(out += ',', "duration", order.spans,
             [&](int i) { return rounded(span(i).end) - rounded(span(i).start); });
  put_column(out += ',', "communication", order.spans,
             [&](int i) { return rounded(span(i).communication); });
  put_column(out += ',', "recompute", order.spans,
             [&](int i) { return rounded(span(i).recompute); });
  put_column(out += ',', "awaited", order.spans, [&](int i) {
    const SpanRef awaited = picture.awaited[std::size_t(index)][std::size_t(i)];
    const auto found = awaited.exists() ? orders.find(awaited.rank) : orders.end();
    return found == orders.end() ? -1 : found->second.number[std::size_t(awaited.span)];
  });
  const std::vector<Idle>& idle = picture.idle[std::size_t(index)];
  out += R"(,"idle":{)";
  before = 0;
  put_column(out, "start", idle, [&](const Idle& pause) {
    const Picoseconds start = rounded(pause.begin);
    return start - std::exchange(before, start);
  });
  put_column(out += ',', "duration", idle, duration);
  put_column(out += ',', "cause", idle, [](const Idle& pause) { return int(pause.cause); });
  put_column(out += ',', "awaited", idle, [](const Idle& pause) { return pause.awaited; });
  return out + "}}";
}

// ---- where the time goes ------------------------------------------------------------------------

// Sums over ranks; `bubble` by cause splits the part of that name.
struct TimeSum {
  double ranks = 0;
  Breakdown parts;
  std::array<Seconds, kIdleCauseNames.size()> bubble{};
  void add(const RankSummary& rank, const std::vector<Idle>& idle) {
    ranks += rank.represented;
    for (const BreakdownPart& part : kBreakdownParts)
      parts.*part.value += rank.time.*part.value * rank.represented;
    for (const Idle& pause : idle)
      bubble[std::size_t(pause.cause)] += (pause.end - pause.begin) * rank.represented;
  }
};

bool is_bubble(IdleCause cause) {
  return cause != IdleCause::PipelineTransfer && cause != IdleCause::DataCommunication &&
         cause != IdleCause::OtherCommunication;
}

Json time_json(const std::string& label, const TimeSum& sum) {
  Json parts, bubble;
  for (const BreakdownPart& part : kBreakdownParts)
    parts[std::string(part.key)] = (sum.parts.*part.value).value / sum.ranks;
  for (std::size_t cause = 0; cause < sum.bubble.size(); ++cause)
    if (is_bubble(IdleCause(cause)))
      bubble[std::string(kIdleCauseNames[cause])] = sum.bubble[cause].value / sum.ranks;
  return {{"label", label}, {"ranks", sum.ranks}, {"parts_s", parts}, {"bubble_s", bubble}};
}

// One row a pipeline stage, as means over its ranks. A job without pipeline that shows few ranks
// gets a row for each of them: they differ for a reason.
Json time_rows(const Picture& picture, const Report& report) {
  constexpr std::size_t kMostRanks = 24;
  const bool by_rank = picture.plan.programs.size() == 1 && report.ranks.size() <= kMostRanks;
  std::map<int, TimeSum> sums;
  for (std::size_t i = 0; i < report.ranks.size(); ++i) {
    const RankSummary& rank = report.ranks[i];
    sums[by_rank ? rank.rank : rank.pipeline].add(rank, picture.idle[i]);
  }
  Json rows = Json::array();
  for (const auto& [number, sum] : sums)
    rows.push_back(time_json(fmt::format("{} {}", by_rank ? "rank" : "stage", number), sum));
  return rows;
}

// The shares of all GPU time; they sum to 1 and a step's price is split by them.
Json split_json(const Report& report) {
  Seconds recompute, communication, bubble, all;
  for (const RankSummary& rank : report.ranks) {
    recompute += rank.time.recompute * rank.represented;
    communication += (rank.time.tensor_communication + rank.time.pipeline_transfer +
                      rank.time.data_communication + rank.time.other_communication) *
                     rank.represented;
    bubble += rank.time.bubble * rank.represented;
    all += report.step_time * rank.represented;
  }
  if (all <= Seconds(0)) return nullptr;
  const double useful = 1 - (recompute + communication + bubble) / all;
  return {{"useful", useful},
          {"recomputation", recompute / all},
          {"exposed_communication", communication / all},
          {"bubble", bubble / all}};
}

// ---- memory -------------------------------------------------------------------------------------

// Of each bin the moment at which the most is in use, so that a peak never gets lost.
std::vector<MemoryAt> thinned(const std::vector<MemoryAt>& course, Picoseconds end) {
  if (int(course.size()) <= kMemoryBins || end <= 0) return course;
  std::vector<MemoryAt> bins;
  std::size_t next = 0;
  MemoryByKind now{};
  for (int bin = 0; bin < kMemoryBins; ++bin) {
    const Picoseconds begin = end / kMemoryBins * bin;
    const Picoseconds until = bin + 1 == kMemoryBins ? end + 1 : end / kMemoryBins * (bin + 1);
    MemoryAt most{begin, now};
    for (; next < course.size() && course[next].time < until; ++next) {
      now = course[next].memory;
      if (bin == 0 && next == 0) most.memory = now;
      if (total(now) > total(most.memory)) most.memory = now;
    }
    bins.push_back(most);
  }
  return bins;
}

Json memory_json(const Picture& picture, const Report& report) {
  std::map<int, std::size_t> rank_of_stage;
  for (std::size_t i = 0; i < report.ranks.size(); ++i)
    rank_of_stage.try_emplace(report.ranks[i].pipeline, i);
  Json list = Json::array();
  for (const auto& [stage, i] : rank_of_stage) {
    const std::vector<MemoryAt> course =
        thinned(memory_course(picture.index.program(int(i)), picture.trace.ranks[i]),
                rounded(picture.trace.end));
    Json json = {{"stage", stage}, {"rank", report.ranks[i].rank}};
    for (const MemoryAt& at : course) json["time"].push_back(at.time);
    for (std::size_t kind = 0; kind < kMemoryKindNames.size(); ++kind)
      for (const MemoryAt& at : course)
        json["bytes"][std::string(kMemoryKindNames[kind])].push_back(
            std::llround(at.memory[kind].value));
    list.push_back(std::move(json));
  }
  return list;
}

}  // namespace

void write_page_data(const Job& job, const Plan& plan, const Trace& trace, const Report& report,
                     const Sink& sink) {
  const Picture picture = picture_of(plan, trace);
  const std::vector<int> shown = ranks_to_show(picture);
  // Without traffic there is nothing to say of links.
  std::optional<Cluster> cluster;
  if (!trace.links.empty()) cluster = build_cluster(job.cluster, job.gpus);
  const Cluster* links = cluster ? &*cluster : nullptr;
  const auto put = [&sink](std::string_view name, const std::string& value) {
    sink(fmt::format("\"{}\":{},\n", name, without_markup(value)));
  };
  sink("{");
  put("report", to_json(report, job));
  put("step", fmt::format("{}", rounded(trace.end)));
  put("kinds", R"(["compute","collective","send","receive"])");
  put("streams", text_of(names(kStreamNames)));
  put("purposes", text_of(names(kPurposeNames)));
  put("collectives", text_of(names(kCollectiveKindNames)));
  put("idle_causes", text_of(names(kIdleCauseNames)));
  put("memory_kinds", text_of(names(kMemoryKindNames)));
  put("ranks_of_trace", fmt::format("{}", trace.ranks.size()));
  put("time", text_of(time_rows(picture, report)));
  put("split", text_of(split_json(report)));
  put("memory", text_of(memory_json(picture, report)));
  put("network", text_of(network_json(links, trace)));
  put("cluster", text_of(cluster_json(links, job, plan, trace, report)));
  put("calibration", text_of(calibration_json(job, plan)));
  Json programs = Json::array();
  for (const Program& program : plan.programs) programs.push_back(program_json(program));
  put("programs", text_of(programs));
  sink("\"ranks\":[");
  const std::map<int, RankOrder> orders = orders_of(picture, shown);
  for (const int rank : shown)
    sink((rank == shown.front() ? "\n" : ",\n") + rank_text(picture, rank, orders));
  sink("\n]}\n");
}

}  // namespace windtunnel

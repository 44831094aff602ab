#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "commands/compare.hpp"
#include "commands/run_files.hpp"
#include "commands/trace_file.hpp"
#include "report/page.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// compare.js starts the page.
constexpr std::array<std::string_view, 6> kScripts = {"format.js",   "theme.js",  "trace.js",
                                                      "timeline.js", "charts.js", "compare.js"};
// Of one side; a page of both then has as many as a report may have (page_data.hpp).
constexpr std::size_t kMostSpans = 100'000;

std::size_t span_count(const TracedRank& rank) {
  std::size_t count = 0;
  for (const TracedThread& thread : rank.threads) count += thread.slices.size();
  return count;
}

// The first of each stage, then the others until the page would be too large; by rank.
std::vector<const TracedRank*> ranks_to_show(const TraceFile& trace) {
  std::map<int, int> seen;
  std::multimap<int, const TracedRank*> in_turn;  // by place among those of its stage
  for (const TracedRank& rank : trace.ranks) in_turn.emplace(seen[rank.stage]++, &rank);
  std::vector<const TracedRank*> shown;
  std::size_t spans = 0;
  for (const auto& [turn, rank] : in_turn) {
    spans += span_count(*rank);
    if (turn > 0 && spans > kMostSpans) break;
    shown.push_back(rank);
  }
  std::sort(shown.begin(), shown.end(),
            [](const TracedRank* a, const TracedRank* b) { return a->rank < b->rank; });
  return shown;
}

// "receive 2" -> "receive": the page lays out what overlaps by itself.
std::string stream_name(const std::string& thread) {
  const std::size_t end = thread.find_last_not_of("0123456789");
  const bool has_number = end != std::string::npos && end + 1 < thread.size() && thread[end] == ' ';
  return has_number ? thread.substr(0, end) : thread;
}

// Starts are written as differences, which are short, as in report.html.
Json starts_of(const std::vector<TracedSlice>& slices) {
  Json starts = Json::array();
  Picoseconds before = 0;
  for (const TracedSlice& slice : slices)
    starts.push_back(slice.start - std::exchange(before, slice.start));
  return starts;
}

template <class Number>
Json column_of(const std::vector<TracedSlice>& slices, const Number& number) {
  Json column = Json::array();
  for (const TracedSlice& slice : slices) column.push_back(number(slice));
  return column;
}

Json rank_json(const TraceFile& trace, const TracedRank& rank) {
  std::vector<TracedSlice> slices;
  for (const TracedThread& thread : rank.threads)
    slices.insert(slices.end(), thread.slices.begin(), thread.slices.end());
  std::stable_sort(slices.begin(), slices.end(),
                   [](const TracedSlice& a, const TracedSlice& b) { return a.start < b.start; });
  const auto duration = [](const TracedSlice& slice) { return slice.end - slice.start; };
  const auto cause = [&](const TracedSlice& pause) {
    return trace.ops[std::size_t(pause.op)].category;
  };
  return {
      {"rank", rank.rank},
      {"stage", rank.stage},
      {"represented", rank.represented},
      {"op", column_of(slices, [](const TracedSlice& slice) { return slice.op; })},
      {"start", starts_of(slices)},
      {"duration", column_of(slices, duration)},
      {"communication",
       column_of(slices, [](const TracedSlice& slice) { return slice.communication; })},
      {"recompute", column_of(slices, [](const TracedSlice& slice) { return slice.recompute; })},
      {"idle",
       {{"start", starts_of(rank.idle)},
        {"duration", column_of(rank.idle, duration)},
        {"cause", column_of(rank.idle, cause)}}}};
}

// The ops of a trace in columns; `stream` is an index into the names of streams.
Json ops_json(const TraceFile& trace, std::vector<std::string>& streams) {
  std::vector<int> stream(trace.ops.size(), 0);
  for (const TracedRank& rank : trace.ranks)
    for (const TracedThread& thread : rank.threads) {
      const std::string name = stream_name(thread.name);
      const auto found = std::find(streams.begin(), streams.end(), name);
      const auto index = int(found - streams.begin());
      if (found == streams.end()) streams.push_back(name);
      for (const TracedSlice& slice : thread.slices) stream[std::size_t(slice.op)] = index;
    }
  Json ops = {{"name", Json::array()},
              {"category", Json::array()},
              {"layers", Json::array()},
              {"bytes", Json::array()},
              {"stream", stream}};
  for (const TracedOp& op : trace.ops) {
    ops["name"].push_back(op.name);
    ops["category"].push_back(op.category);
    ops["layers"].push_back(op.layers);
    ops["bytes"].push_back(op.bytes);
  }
  return ops;
}

Json side_json(const fs::path& path) {
  std::error_code ignored;
  const fs::path folder = fs::is_directory(path, ignored) ? path : path.parent_path();
  const TraceFile trace = trace_file(folder / "trace.json");
  std::vector<std::string> streams = {"compute"};
  Json json = {{"path", path.string()},
               {"ops", ops_json(trace, streams)},
               {"streams", streams},
               {"ranks_of_trace", trace.ranks.size()},
               {"ranks", Json::array()}};
  for (const TracedRank* rank : ranks_to_show(trace))
    json["ranks"].push_back(rank_json(trace, *rank));
  return json;
}

std::string text_of(const Json& json) {
  return without_markup(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

std::string compare_page(const Comparison& comparison, const fs::path& a, const fs::path& b) {
  const Json tables = {{"headline", comparison.headline},
                       {"inputs", comparison.inputs},
                       {"causes", comparison.causes},
                       {"ranks", comparison.ranks}};
  const auto data = [&](const PageSink& sink) {
    sink("{\"comparison\":");
    sink(without_markup(comparison.json));
    sink(",\"tables\":" + text_of(tables));
    sink(",\n\"a\":" + text_of(side_json(a)));
    sink(",\n\"b\":" + text_of(side_json(b)) + "}\n");
  };
  std::string page;
  write_page("compare.html", kScripts, data, [&page](std::string_view piece) { page += piece; });
  return page;
}

}  // namespace windtunnel

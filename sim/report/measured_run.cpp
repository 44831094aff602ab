#include "report/measured_run.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace windtunnel {

namespace {

using Json = nlohmann::ordered_json;

Json spans_json(const RankTrace& rank) {
  Json spans = Json::array();
  for (const Span& span : rank.spans)
    spans.push_back({span.op, span.start.value, span.end.value, span.communication.value,
                     span.recompute.value});
  return spans;
}

Json bytes_json(const std::vector<Bytes>& all) {
  Json list = Json::array();
  for (const Bytes& bytes : all) list.push_back(bytes.value);
  return list;
}

std::vector<Bytes> bytes_list(const Json& list) {
  std::vector<Bytes> all;
  for (const Json& bytes : list) all.emplace_back(bytes.get<double>());
  return all;
}

RankTrace rank_trace(const Json& spans, const Plan& plan, int rank) {
  RankTrace trace{rank, 1, plan.grid.coordinates(rank).pipeline, {}};
  const std::size_t ops = plan.programs[std::size_t(trace.program)].ops.size();
  for (const Json& span : spans) {
    const int op = span.at(0).get<int>();
    if (op < 0 || std::size_t(op) >= ops) throw std::runtime_error("a span of no op of the plan");
    trace.spans.push_back({op, Seconds(span.at(1).get<double>()), Seconds(span.at(2).get<double>()),
                           Seconds(span.at(3).get<double>()), Seconds(span.at(4).get<double>())});
  }
  if (trace.spans.size() != ops) throw std::runtime_error("not one span for each op of the plan");
  return trace;
}

}  // namespace

std::string to_json(const MeasuredRun& run) {
  Json json = {
      {"schema_version", 1},      {"job", run.job},           {"date", run.date},
      {"machine", run.machine},   {"software", run.software}, {"step_times_s", run.step_times},
      {"p10_s", run.p10},         {"median_s", run.median},   {"p90_s", run.p90},
      {"attempts", run.attempts}, {"noise", run.noise},       {"losses", run.losses}};
  json["peak_memory_bytes"] = bytes_json(run.peak_memory);
  if (!run.peak_reserved.empty()) json["peak_reserved_bytes"] = bytes_json(run.peak_reserved);
  // By rank: [op, start, end, tensor-parallel communication, recomputation], seconds.
  json["spans"] = Json::array();
  for (const RankTrace& rank : run.trace.ranks) json["spans"].push_back(spans_json(rank));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

MeasuredRun measured_run(const std::string& text, const Plan& plan) {
  try {
    const Json json = Json::parse(text);
    MeasuredRun run;
    run.job = json.at("job").get<std::string>();
    run.date = json.at("date").get<std::string>();
    run.machine = json.at("machine").get<std::string>();
    run.software = json.at("software").get<std::string>();
    run.step_times = json.at("step_times_s").get<std::vector<double>>();
    run.p10 = json.at("p10_s").get<double>();
    run.median = json.at("median_s").get<double>();
    run.p90 = json.at("p90_s").get<double>();
    run.attempts = json.at("attempts").get<int>();
    run.noise = json.at("noise").get<std::string>();
    run.losses = json.at("losses").get<std::vector<double>>();
    run.peak_memory = bytes_list(json.at("peak_memory_bytes"));
    if (json.contains("peak_reserved_bytes"))
      run.peak_reserved = bytes_list(json.at("peak_reserved_bytes"));
    const Json& ranks = json.at("spans");
    if (int(ranks.size()) != plan.grid.size())
      throw std::runtime_error("spans of another number of ranks than the plan's");
    for (int rank = 0; rank < plan.grid.size(); ++rank) {
      run.trace.ranks.push_back(rank_trace(ranks.at(std::size_t(rank)), plan, rank));
      for (const Span& span : run.trace.ranks.back().spans)
        run.trace.end = std::max(run.trace.end, span.end);
    }
    return run;
  } catch (const Json::exception& error) {
    throw std::runtime_error(error.what());
  }
}

}  // namespace windtunnel

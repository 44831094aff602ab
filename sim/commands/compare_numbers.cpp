#include "commands/compare_numbers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "report/format.hpp"

namespace windtunnel {
namespace {

using Json = nlohmann::ordered_json;

// The parts in whole quanta. What rounding leaves over goes to the largest, so that they sum to
// the rounded step time.
std::vector<std::int64_t> apportioned(const TimeParts& parts, double step_time, double quantum) {
  std::vector<std::int64_t> quanta;
  std::int64_t rest = quanta_of(step_time, quantum);
  for (const auto& [cause, seconds] : parts) {
    quanta.push_back(quanta_of(seconds, quantum));
    rest -= quanta.back();
  }
  if (!quanta.empty()) *std::max_element(quanta.begin(), quanta.end()) += rest;
  return quanta;
}

constexpr std::string_view kFullestMemory = "/memory_peak_bytes";  // not a place in the report
constexpr std::array<Headline, 13> kHeadlines = {{
    {"GPUs", "/inputs/gpus", [](double count) { return fmt::format("{}", count); }},
    {"step time", "/step_time_s", [](double value) { return readable_time(Seconds(value)); }},
    {"samples/s", "/samples_per_s", readable_count},
    {"tokens/s", "/tokens_per_s", readable_count},
    {"tokens/s per GPU", "/tokens_per_s_per_gpu", readable_count},
    {"MFU", "/mfu", readable_share},
    {"HFU", "/hfu", readable_share},
    {"bubble", "/bubble_fraction", readable_share},
    {"exposed communication", "/exposed_comm_s/total",
     [](double value) { return readable_time(Seconds(value)); }},
    {"memory, fullest GPU", kFullestMemory, [](double value) { return readable(value, "B"); }},
    {"$ per step", "/usd_per_step", [](double value) { return readable_usd(Usd(value)); }},
    {"$ per million tokens", "/usd_per_million_tokens",
     [](double value) { return readable_usd(Usd(value)); }},
    {"energy per step", "/energy_j_per_step", [](double value) { return readable(value, "J"); }},
}};

// The bytes of the stage that is fullest.
Json fullest_memory(const Json& report) {
  Json bytes;
  double fullest = -1;
  for (const Json& stage : report.value("memory_bytes", Json::array())) {
    const double total = stage.value("total", 0.0), capacity = stage.value("capacity", 0.0);
    if (capacity <= 0 || total / capacity <= fullest) continue;
    fullest = total / capacity;
    bytes = total;
  }
  return bytes;
}

void add_differences(const std::string& key, const Json& a, const Json& b,
                     std::vector<InputDifference>& found) {
  if (a == b) return;
  if (!a.is_object() || !b.is_object()) {
    found.push_back({key, a, b});
    return;
  }
  const auto below = [&](const std::string& name) { return key.empty() ? name : key + "." + name; };
  for (const auto& [name, value] : a.items())
    add_differences(below(name), value, b.contains(name) ? b.at(name) : Json(nullptr), found);
  for (const auto& [name, value] : b.items())
    if (!a.contains(name)) add_differences(below(name), nullptr, value, found);
}

}  // namespace

std::int64_t quanta_of(double seconds, double quantum) {
  return std::llround(seconds / quantum);
}

std::vector<Cause> causes_of(const TimeParts& a, double step_a, const TimeParts& b, double step_b,
                             double quantum) {
  std::vector<Cause> causes;
  const auto add = [&](const TimeParts& parts, double step_time, std::int64_t Cause::*side) {
    const std::vector<std::int64_t> quanta = apportioned(parts, step_time, quantum);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      auto found = std::find_if(causes.begin(), causes.end(),
                                [&](const Cause& cause) { return cause.name == parts[i].first; });
      if (found == causes.end()) found = causes.insert(causes.end(), {parts[i].first});
      (*found).*side = quanta[i];
    }
  };
  add(a, step_a, &Cause::a);
  add(b, step_b, &Cause::b);
  return causes;
}

Cause sum_of(const std::vector<Cause>& causes) {
  Cause sum{"step time"};
  for (const Cause& cause : causes) {
    sum.a += cause.a;
    sum.b += cause.b;
  }
  return sum;
}

std::span<const Headline> headlines() {
  return kHeadlines;
}

Json value_at(const Json& report, std::string_view place) {
  if (place == kFullestMemory) return fullest_memory(report);
  const Json::json_pointer pointer{std::string(place)};
  return report.contains(pointer) ? report.at(pointer) : Json(nullptr);
}

std::vector<InputDifference> input_differences(const RunFiles& a, const RunFiles& b) {
  std::vector<InputDifference> found;
  add_differences("", value_at(a.report, "/inputs"), value_at(b.report, "/inputs"), found);
  return found;
}

}  // namespace windtunnel

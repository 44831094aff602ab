#include "commands/compare_numbers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "report/format.hpp"

namespace windtunnel {
namespace {

using Json = nlohmann::ordered_json;

// What rounding leaves over of one side's step time goes to its largest cause that differs between
// the sides, so that equal ones still show no difference; to the largest of all if none differs.
void add_rest(std::vector<Cause>& causes, std::int64_t Cause::*side, std::int64_t step_time,
              const std::vector<bool>& differs) {
  std::int64_t rest = step_time;
  for (const Cause& cause : causes) rest -= cause.*side;
  Cause* taker = nullptr;
  const auto consider = [&](Cause& cause) {
    // A time stays at least 0.
    if (cause.*side + rest >= 0 && (!taker || cause.*side > taker->*side)) taker = &cause;
  };
  for (std::size_t i = 0; i < causes.size(); ++i)
    if (differs[i]) consider(causes[i]);
  if (!taker)
    for (Cause& cause : causes) consider(cause);
  if (taker) taker->*side += rest;
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
  const auto add = [&](const TimeParts& parts, std::int64_t Cause::*side) {
    for (const auto& part : parts) {
      auto found = std::find_if(causes.begin(), causes.end(),
                                [&](const Cause& cause) { return cause.name == part.first; });
      if (found == causes.end()) found = causes.insert(causes.end(), {part.first});
      (*found).*side = quanta_of(part.second, quantum);
    }
  };
  add(a, &Cause::a);
  add(b, &Cause::b);
  std::vector<bool> differs;
  differs.reserve(causes.size());
  for (const Cause& cause : causes) differs.push_back(cause.a != cause.b);
  add_rest(causes, &Cause::a, quanta_of(step_a, quantum), differs);
  add_rest(causes, &Cause::b, quanta_of(step_b, quantum), differs);
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

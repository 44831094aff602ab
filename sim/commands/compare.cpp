#include "commands/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string_view>

#include "commands/run_files.hpp"
#include "report/format.hpp"

namespace windtunnel {
namespace {

using Json = nlohmann::ordered_json;

// Times as whole multiples of something small, so that sums are exact.
struct Cause {
  std::string name;
  std::int64_t a = 0, b = 0;
  std::int64_t difference() const { return b - a; }
};

std::int64_t whole(double value) {
  return std::llround(value);
}

// The parts in whole quanta. What rounding leaves over goes to the largest, so that they sum to
// the rounded step time.
std::vector<std::int64_t> apportioned(const TimeParts& parts, double step_time, double quantum) {
  std::vector<std::int64_t> quanta;
  std::int64_t rest = whole(step_time / quantum);
  for (const auto& [cause, seconds] : parts) {
    quanta.push_back(whole(seconds / quantum));
    rest -= quanta.back();
  }
  if (!quanta.empty()) *std::max_element(quanta.begin(), quanta.end()) += rest;
  return quanta;
}

// By cause, in the order of A; causes that only B knows come last.
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

// One line of the headline: a number of report.json and how people read it.
struct Headline {
  std::string_view name, place;
  std::string (*text)(double);
};
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

Json value_at(const Json& report, std::string_view place) {
  if (place == kFullestMemory) return fullest_memory(report);
  const Json::json_pointer pointer{std::string(place)};
  return report.contains(pointer) ? report.at(pointer) : Json(nullptr);
}

// Keys below `inputs` whose values differ.
struct InputDifference {
  std::string key;
  Json a, b;
};

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

std::vector<InputDifference> input_differences(const RunFiles& a, const RunFiles& b) {
  std::vector<InputDifference> found;
  add_differences("", value_at(a.report, "/inputs"), value_at(b.report, "/inputs"), found);
  return found;
}

std::string plain(const Json& value) {
  if (value.is_null()) return "-";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Left-aligned first column, right-aligned others.
std::string laid_out(const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::size_t> widths;
  for (const auto& line : lines) {
    widths.resize(std::max(widths.size(), line.size()));
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string out;
  for (const auto& line : lines) {
    std::string text = fmt::format("{:<{}}", line.front(), widths.front());
    for (std::size_t i = 1; i < line.size(); ++i)
      text += fmt::format("  {:>{}}", line[i], widths[i]);
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  }
  return out;
}

std::string headline_text(const RunFiles& a, const RunFiles& b) {
  std::vector<std::vector<std::string>> lines = {{"", "A", "B", "B / A"}};
  lines.push_back(
      {"job", plain(value_at(a.report, "/job")), plain(value_at(b.report, "/job")), ""});
  for (const Headline& headline : kHeadlines) {
    const Json of_a = value_at(a.report, headline.place), of_b = value_at(b.report, headline.place);
    if (!of_a.is_number() && !of_b.is_number()) continue;
    const auto text = [&](const Json& value) {
      return value.is_number() ? headline.text(value.get<double>()) : "-";
    };
    const bool has_ratio = of_a.is_number() && of_b.is_number() && of_a.get<double>() > 0;
    lines.push_back(
        {std::string(headline.name), text(of_a), text(of_b),
         has_ratio ? fmt::format("{:.3f}", of_b.get<double>() / of_a.get<double>()) : "-"});
  }
  return laid_out(lines);
}

std::string inputs_text(const RunFiles& a, const RunFiles& b) {
  std::vector<std::vector<std::string>> lines;
  for (const InputDifference& input : input_differences(a, b))
    lines.push_back({"  " + input.key, plain(input.a), plain(input.b)});
  if (lines.empty()) return "\nthe inputs that the reports show are the same\n";
  lines.insert(lines.begin(), {"inputs that differ", "A", "B"});
  return "\n" + laid_out(lines);
}

std::string critical_text(const RunFiles& a, const RunFiles& b) {
  const auto rank = [](const RunFiles& run) {
    return fmt::format("rank {} (stage {})", plain(value_at(run.report, "/critical_rank")),
                       plain(value_at(run.report, "/critical_stage")));
  };
  if (rank(a) == rank(b))
    return fmt::format("A, B: {}, which computes longest in both runs", rank(a));
  return fmt::format("A: {}, B: {}; each computes longest in its run, so different ranks compare",
                     rank(a), rank(b));
}

// Decimals of a unit that suits the longer step time; the sums are exact in what is shown.
struct ShownUnit {
  std::string_view name;
  double seconds;
};

ShownUnit shown_unit(double longest) {
  if (longest >= 1) return {"s", 1};
  return longest >= 1e-3 ? ShownUnit{"ms", 1e-3} : ShownUnit{"us", 1e-6};
}

constexpr int kDecimals = 4;
constexpr std::int64_t kQuantaPerUnit = 10'000;

// Exact: no double is between the quanta and the digits.
std::string decimal(std::int64_t quanta, bool is_signed) {
  const std::int64_t size = std::abs(quanta);
  const std::string_view sign = quanta < 0 ? "-" : is_signed && quanta > 0 ? "+" : "";
  return fmt::format("{}{}.{:0{}}", sign, size / kQuantaPerUnit, size % kQuantaPerUnit, kDecimals);
}

std::string causes_text(const RunFiles& a, const RunFiles& b) {
  const ShownUnit unit = shown_unit(std::max(a.step_time, b.step_time));
  const double quantum = unit.seconds / double(kQuantaPerUnit);
  std::vector<Cause> causes = causes_of(a.critical, a.step_time, b.critical, b.step_time, quantum);
  const bool has_mean = a.mean && b.mean;
  std::vector<Cause> means;
  if (has_mean) means = causes_of(*a.mean, a.step_time, *b.mean, b.step_time, quantum);
  causes.push_back(sum_of(causes));
  means.push_back(sum_of(means));
  std::vector<std::vector<std::string>> lines = {
      {fmt::format("step time by cause, in {}", unit.name), "A", "B", "B - A"}};
  if (has_mean) lines.front().emplace_back("mean B - A");
  for (std::size_t i = 0; i < causes.size(); ++i) {
    const Cause& cause = causes[i];
    const bool is_mean_zero = !has_mean || (means[i].a == 0 && means[i].b == 0);
    if (cause.a == 0 && cause.b == 0 && is_mean_zero) continue;
    std::string label = "  " + cause.name;
    std::replace(label.begin(), label.end(), '_', ' ');
    lines.push_back({label, decimal(cause.a, false), decimal(cause.b, false),
                     decimal(cause.difference(), true)});
    if (has_mean) lines.back().push_back(decimal(means[i].difference(), true));
  }
  return fmt::format("\n{}\n{}{}\n", laid_out(lines), critical_text(a, b),
                     has_mean ? "\nmean B - A: the same over all ranks" : "");
}

constexpr double kPicosecond = 1e-12;

Json causes_json(const TimeParts& a, double step_a, const TimeParts& b, double step_b) {
  Json list = Json::array();
  for (const Cause& cause : causes_of(a, step_a, b, step_b, kPicosecond))
    list.push_back({{"cause", cause.name},
                    {"a", cause.a},
                    {"b", cause.b},
                    {"difference", cause.difference()}});
  return list;
}

std::string json_of(const RunFiles& a, const RunFiles& b) {
  const auto side = [](const RunFiles& run) -> Json {
    return {{"path", run.path},
            {"job", value_at(run.report, "/job")},
            {"critical_rank", value_at(run.report, "/critical_rank")},
            {"critical_stage", value_at(run.report, "/critical_stage")}};
  };
  Json json = {{"schema_version", 1}, {"a", side(a)}, {"b", side(b)}};
  for (const Headline& headline : kHeadlines) {
    std::string key(headline.place.substr(1));
    std::replace(key.begin(), key.end(), '/', '.');
    json["headline"][key] = {{"a", value_at(a.report, headline.place)},
                             {"b", value_at(b.report, headline.place)}};
  }
  json["inputs"] = Json::array();
  for (const InputDifference& input : input_differences(a, b))
    json["inputs"].push_back({{"key", input.key}, {"a", input.a}, {"b", input.b}});
  const std::int64_t step_a = whole(a.step_time / kPicosecond);
  const std::int64_t step_b = whole(b.step_time / kPicosecond);
  json["step_time_ps"] = {{"a", step_a}, {"b", step_b}, {"difference", step_b - step_a}};
  json["causes_ps"] = causes_json(a.critical, a.step_time, b.critical, b.step_time);
  json["mean_causes_ps"] = nullptr;
  if (a.mean && b.mean)
    json["mean_causes_ps"] = causes_json(*a.mean, a.step_time, *b.mean, b.step_time);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

Comparison compare(const std::filesystem::path& path_a, const std::filesystem::path& path_b) {
  const RunFiles a = run_files(path_a), b = run_files(path_b);
  const std::string names = fmt::format("A: {}\nB: {}\n\n", a.path, b.path);
  return {.text = names + headline_text(a, b) + inputs_text(a, b) + causes_text(a, b),
          .json = json_of(a, b)};
}

}  // namespace windtunnel

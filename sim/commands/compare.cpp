#include "commands/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "commands/compare_numbers.hpp"

namespace windtunnel {
namespace {

using Json = nlohmann::ordered_json;

std::string plain(const Json& value) {
  if (value.is_null()) return "-";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Left-aligned first column, right-aligned others.
std::string laid_out(const CompareTable& lines) {
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

CompareTable headline_lines(const RunFiles& a, const RunFiles& b) {
  CompareTable lines = {{"", "A", "B", "B / A"}};
  lines.push_back(
      {"job", plain(value_at(a.report, "/job")), plain(value_at(b.report, "/job")), ""});
  for (const Headline& headline : headlines()) {
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
  return lines;
}

// Empty if there are none.
CompareTable input_lines(const RunFiles& a, const RunFiles& b) {
  CompareTable lines;
  for (const InputDifference& input : input_differences(a, b))
    lines.push_back({"  " + input.key, plain(input.a), plain(input.b)});
  if (!lines.empty()) lines.insert(lines.begin(), {"inputs that differ", "A", "B"});
  return lines;
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

// The last line is the sum of those before it, in the digits that are shown.
CompareTable cause_lines(const RunFiles& a, const RunFiles& b) {
  const ShownUnit unit = shown_unit(std::max(a.step_time, b.step_time));
  const double quantum = unit.seconds / double(kQuantaPerUnit);
  std::vector<Cause> causes = causes_of(a.critical, a.step_time, b.critical, b.step_time, quantum);
  const bool has_mean = a.mean && b.mean;
  std::vector<Cause> means;
  if (has_mean) means = causes_of(*a.mean, a.step_time, *b.mean, b.step_time, quantum);
  causes.push_back(sum_of(causes));
  means.push_back(sum_of(means));
  CompareTable lines = {{fmt::format("step time by cause, in {}", unit.name), "A", "B", "B - A"}};
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
  return lines;
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
  for (const Headline& headline : headlines()) {
    std::string key(headline.place.substr(1));
    std::replace(key.begin(), key.end(), '/', '.');
    json["headline"][key] = {{"a", value_at(a.report, headline.place)},
                             {"b", value_at(b.report, headline.place)}};
  }
  json["inputs"] = Json::array();
  for (const InputDifference& input : input_differences(a, b))
    json["inputs"].push_back({{"key", input.key}, {"a", input.a}, {"b", input.b}});
  const std::int64_t step_a = quanta_of(a.step_time, kPicosecond);
  const std::int64_t step_b = quanta_of(b.step_time, kPicosecond);
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
  Comparison comparison{.headline = headline_lines(a, b),
                        .inputs = input_lines(a, b),
                        .causes = cause_lines(a, b),
                        .ranks = critical_text(a, b),
                        .json = json_of(a, b)};
  const std::string inputs = comparison.inputs.empty()
                                 ? "the inputs that the reports show are the same\n"
                                 : laid_out(comparison.inputs);
  const std::string_view mean = a.mean && b.mean ? "mean B - A: the same over all ranks\n" : "";
  comparison.text = fmt::format("A: {}\nB: {}\n\n{}\n{}\n{}\n{}\n{}", a.path, b.path,
                                laid_out(comparison.headline), inputs, laid_out(comparison.causes),
                                comparison.ranks, mean);
  return comparison;
}

}  // namespace windtunnel

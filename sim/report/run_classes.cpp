#include "report/run_classes.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "report/format.hpp"
#include "report/page_files.hpp"
#include "report/placement.hpp"

namespace windtunnel {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<RunSize, kRunSizes> kSizes = {{
    {"gpus", "{} GPUs", [](const Job& job) { return std::optional<double>(job.gpus); }},
    {"tensor_ranks", "{} tensor ranks",
     [](const Job& job) { return std::optional<double>(job.parallel.tensor); }},
    {"pipeline_ranks", "{} pipeline ranks",
     [](const Job& job) { return std::optional<double>(job.parallel.pipeline); }},
    {"parameters", "{} parameters",
     [](const Job& job) { return std::optional<double>(double(job.model.parameter_count())); }},
    {"hidden", "hidden size {}",
     [](const Job& job) {
       const Parameters& parameters = job.model.parameters;
       return parameters.has("hidden") ? std::optional(parameters.number("hidden")) : std::nullopt;
     }},
    {"sequence_tokens", "samples of {} tokens",
     [](const Job& job) {
       return job.model.family->is_sequence ? std::optional<double>(job.batch.sequence)
                                            : std::nullopt;
     }},
    {"micro_batch", "micro-batches of {}",
     [](const Job& job) { return std::optional<double>(job.batch.micro); }},
}};

// Exact up to a million, which all but parameters are below.
std::string size_text(double size) {
  constexpr double kMillion = 1e6;
  return size < kMillion ? fmt::format("{:.0f}", size) : readable_count(size);
}

std::string text_of(const SizeRange& range) {
  return range.from == range.to
             ? size_text(range.from)
             : fmt::format("{} to {}", size_text(range.from), size_text(range.to));
}

Json json_of(const RunClass& runs) {
  Json json = {{"card", runs.card.empty() ? Json(nullptr) : Json(runs.card)},
               {"parallelism", nullptr},
               {"runs", runs.runs},
               {"p10", runs.p10},
               {"p90", runs.p90},
               {"precisions", runs.precisions},
               {"families", runs.families}};
  if (runs.parallelism) json["parallelism"] = name_of(kParallelismKindNames, *runs.parallelism);
  for (std::size_t i = 0; i < kRunSizes; ++i)
    if (const auto& range = runs.sizes[i])
      json[std::string(kSizes[i].key)] = {std::llround(range->from), std::llround(range->to)};
  return json;
}

RunClass class_from(const Json& json) {
  RunClass runs;
  if (!json.at("card").is_null()) runs.card = json.at("card").get<std::string>();
  if (!json.at("parallelism").is_null()) {
    runs.parallelism = enum_from<ParallelismKind>(kParallelismKindNames,
                                                  json.at("parallelism").get<std::string>());
    SIM_CHECK(runs.parallelism.has_value(), "intervals.json: no such parallelism");
  }
  json.at("runs").get_to(runs.runs);
  json.at("p10").get_to(runs.p10);
  json.at("p90").get_to(runs.p90);
  json.at("precisions").get_to(runs.precisions);
  json.at("families").get_to(runs.families);
  for (std::size_t i = 0; i < kRunSizes; ++i)
    if (const auto range = json.find(kSizes[i].key); range != json.end())
      runs.sizes[i] = {range->at(0).get<double>(), range->at(1).get<double>()};
  return runs;
}

const RunClass* find_class(std::string_view card, std::optional<ParallelismKind> kind,
                           std::span<const RunClass> classes) {
  const auto found = std::find_if(classes.begin(), classes.end(), [&](const RunClass& one) {
    return one.card == card && one.parallelism == kind;
  });
  return found == classes.end() ? nullptr : &*found;
}

// "fp8 (published: bf16, fp16)"; nothing where the name is one of those.
void add_unlike(const std::string& what, const std::string& name,
                const std::vector<std::string>& known, std::vector<std::string>& found) {
  if (std::find(known.begin(), known.end(), name) == known.end())
    found.push_back(fmt::format("{}{} (published: {})", what, name, fmt::join(known, ", ")));
}

}  // namespace

std::span<const RunSize, kRunSizes> run_sizes() {
  return kSizes;
}

RunTraits run_traits(const Job& job) {
  RunTraits traits{.precision = name_text(kDTypeNames, job.precision.compute),
                   .family = std::string(job.model.family->name)};
  const std::vector<const GpuSpec*> types = gpu_types(job);
  const bool is_one_card = std::all_of(types.begin(), types.end(), [&](const GpuSpec* gpu) {
    return gpu->name == types.front()->name;
  });
  if (is_one_card) traits.card = types.front()->name;
  if (job.parallel.pipeline > 1)
    traits.parallelism = ParallelismKind::Pipeline;
  else if (job.parallel.tensor > 1)
    traits.parallelism = ParallelismKind::Tensor;
  for (std::size_t i = 0; i < kRunSizes; ++i) traits.sizes[i] = kSizes[i].of(job);
  return traits;
}

std::string to_json(std::span<const RunClass> classes) {
  std::string text =
      "{\"made_by\": \"windtunnel validate TABLES --split all --write-intervals FILE\",\n"
      "\"classes\": [";
  for (const RunClass& runs : classes)
    text += (&runs == classes.data() ? "\n" : ",\n") + json_of(runs).dump();
  return text + "\n]}\n";
}

std::vector<RunClass> run_classes_from(std::string_view json) {
  std::vector<RunClass> classes;
  const Json file = Json::parse(json);
  for (const Json& one : file.at("classes")) classes.push_back(class_from(one));
  return classes;
}

const std::vector<RunClass>& published_classes() {
  static const std::vector<RunClass> classes = run_classes_from(page_file("intervals.json"));
  return classes;
}

int runs_on_card(std::string_view card, std::span<const RunClass> classes) {
  const RunClass* found = card.empty() ? nullptr : find_class(card, std::nullopt, classes);
  return found ? found->runs : 0;
}

const RunClass* class_of(const RunTraits& traits, std::span<const RunClass> classes) {
  if (runs_on_card(traits.card, classes) == 0) return nullptr;
  const RunClass* of_kind = find_class(traits.card, traits.parallelism, classes);
  if (of_kind && of_kind->runs >= kLeastRuns) return of_kind;
  const RunClass* of_card = find_class(traits.card, std::nullopt, classes);
  return of_card->runs >= kLeastRuns ? of_card : find_class("", std::nullopt, classes);
}

std::string class_text(const RunClass& found, int on_card) {
  const std::string kind =
      found.parallelism ? name_text(kParallelismKindNames, *found.parallelism) + "-parallel " : "";
  return found.card.empty()
             ? fmt::format("published runs on any card, {} of them on this one", on_card)
             : fmt::format("published {}runs on this card", kind);
}

std::vector<std::string> unlike(const RunTraits& traits, const RunClass& runs) {
  std::vector<std::string> found;
  add_unlike("", traits.precision, runs.precisions, found);
  add_unlike("model family ", traits.family, runs.families, found);
  for (std::size_t i = 0; i < kRunSizes; ++i) {
    const auto& size = traits.sizes[i];
    const auto& range = runs.sizes[i];
    if (size && range && (*size < range->from || *size > range->to))
      found.push_back(fmt::format("{} (published: {})",
                                  fmt::format(fmt::runtime(kSizes[i].phrase), size_text(*size)),
                                  text_of(*range)));
  }
  return found;
}

}  // namespace windtunnel

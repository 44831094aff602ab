#include "commands/validate.hpp"

#include <fmt/format.h>

#include <array>
#include <system_error>
#include <utility>

#include "commands/files.hpp"
#include "commands/validate_pictures.hpp"
#include "commands/validate_summary.hpp"
#include "commands/workers.hpp"
#include "config/config_error.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kSplitNames = {"test", "calibrate", "all"};

std::string rules_path(const ValidateOptions& options) {
  if (!options.rules.empty()) return options.rules;
  const fs::path folder = fs::path(options.files.front()).parent_path();
  const std::string name = "systems.yaml";
  const fs::path above = folder.empty() ? fs::path("..") : folder.parent_path();
  for (const fs::path& candidate : {folder / name, above / name})
    if (fs::exists(candidate)) return candidate.string();
  throw ConfigError(
      fmt::format("{}: error: no {} beside the table or in the folder above; --rules can name one",
                  options.files.front(), name));
}

std::string write_all(const fs::path& folder, const Validation& validation,
                      const std::vector<TableSummary>& tables) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fmt::format("cannot make '{}': {}", folder.string(), error.message());
  const std::array<std::pair<const char*, std::string>, 5> files = {{
      {"rows.csv", rows_csv(validation)},
      {"summary.csv", summary_csv(tables)},
      {"summary.json", summary_json(tables)},
      {"scatter.svg", svg(scatter_picture(validation))},
      {"errors.svg", svg(histogram_picture(validation))},
  }};
  for (const auto& [name, content] : files)
    if (std::string problem = replace_file(folder / name, content); !problem.empty())
      return problem;
  return "";
}

std::string write_readme(const fs::path& path, const std::vector<TableSummary>& tables) {
  const auto text = content_of(path);
  if (!text) throw ConfigError(fmt::format("{}: error: cannot be read", path.string()));
  return replace_file(path, between_marks(*text, to_markdown(tables), path.string()));
}

}  // namespace

ValidateOutcome validate(const ValidateOptions& options) {
  const auto split = enum_from<Split>(kSplitNames, options.split);
  if (!split)
    throw ConfigError(
        fmt::format("--split {}: error: expected test, calibrate or all", options.split));
  Rules rules = load_rules(rules_path(options));
  if (options.zero_shot)
    for (Rule& framework : rules.sections["frameworks"]) framework.values.erase("host");
  const int workers = options.workers > 0 ? options.workers : available_cores();
  const Validation validation = validated(options.files, rules, *split, workers);
  const std::vector<TableSummary> tables = summaries(validation);
  ValidateOutcome outcome{.text = to_text(tables), .problem = ""};
  if (!options.out.empty()) {
    outcome.problem = write_all(options.out, validation, tables);
    outcome.text += fmt::format(
        "\nwrote {0}/rows.csv, {0}/summary.csv, {0}/summary.json, "
        "{0}/scatter.svg, {0}/errors.svg\n",
        options.out.string());
  }
  if (outcome.problem.empty() && !options.readme.empty())
    outcome.problem = write_readme(options.readme, tables);
  return outcome;
}

}  // namespace windtunnel

#include "commands/validate.hpp"

#include <fmt/format.h>

#include <array>
#include <system_error>
#include <utility>

#include "commands/files.hpp"
#include "commands/validate_collectives.hpp"
#include "commands/validate_intervals.hpp"
#include "commands/validate_pictures.hpp"
#include "commands/validate_residuals.hpp"
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
  for (const fs::path& above : {fs::path("."), fs::path(".."), fs::path("../..")})
    if (const fs::path file = (folder / above / name).lexically_normal(); fs::exists(file))
      return file.string();
  throw ConfigError(fmt::format(
      "{}: error: no {} beside the table or in the two folders above; --rules can name one",
      options.files.front(), name));
}

using File = std::pair<const char*, std::string>;

std::string write_files(const fs::path& folder, const std::vector<File>& files) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fmt::format("cannot make '{}': {}", folder.string(), error.message());
  for (const auto& [name, content] : files)
    if (std::string problem = replace_file(folder / name, content); !problem.empty())
      return problem;
  return "";
}

// What one kind of tables comes to.
struct Findings {
  std::string text;      // for the terminal
  std::string markdown;  // for the README, between the marks of `mark`
  std::string_view mark;
  std::vector<File> files;
  std::string intervals;  // of runs, where they are wanted
};

Findings runs(const std::vector<std::string>& files, const Rules& rules, Split split, int workers,
              bool wants_intervals, bool wants_residuals, std::string_view mark) {
  const Validation validation = validated(files, rules, split, workers);
  const std::vector<TableSummary> tables = summaries(validation);
  std::string text = is_small(validation) ? rows_text(validation) : "";
  return {
      .text = text + to_text(tables),
      .markdown =
          to_markdown(tables) + (wants_residuals ? residuals_markdown(validation, rules) : ""),
      .mark = mark,
      .files = {{"rows.csv", rows_csv(validation)},
                {"summary.csv", summary_csv(tables)},
                {"summary.json", summary_json(tables)},
                {"scatter.svg", svg(scatter_picture(validation))},
                {"errors.svg", svg(histogram_picture(validation))}},
      .intervals = wants_intervals ? to_json(run_classes(published_runs(validation, rules))) : ""};
}

Findings collectives(const std::vector<std::string>& files, const Rules& rules) {
  const std::vector<CollectiveRow> rows = collective_rows(files, rules);
  return {.text = collectives_text(rows),
          .markdown = collectives_markdown(rows),
          .mark = "collectives",
          .files = {{"collectives.csv", collectives_csv(rows)}}};
}

std::string write_readme(const fs::path& path, const std::vector<Findings>& findings) {
  const auto text = content_of(path);
  if (!text) throw ConfigError(fmt::format("{}: error: cannot be read", path.string()));
  std::string result = *text;
  for (const Findings& part : findings)
    result = between_marks(result, part.mark, part.markdown, path.string());
  return replace_file(path, result);
}

}  // namespace

ValidateOutcome validate(const ValidateOptions& options) {
  const auto split = enum_from<Split>(kSplitNames, options.split);
  if (!split)
    throw ConfigError(
        fmt::format("--split {}: error: expected test, calibrate or all", options.split));
  if (!options.intervals.empty() && (*split != Split::All || options.zero_shot))
    throw ConfigError("--write-intervals: error: needs --split all, without --zero-shot");
  Rules rules = load_rules(rules_path(options));
  if (options.zero_shot)
    for (Rule& framework : rules.sections["frameworks"]) framework.values.erase("host");
  const int workers = options.workers > 0 ? options.workers : available_cores();
  std::vector<std::string> run_tables, collective_tables;
  for (const std::string& file : options.files)
    (is_collective_table(file) ? collective_tables : run_tables).push_back(file);
  const bool wants_intervals = !options.intervals.empty();
  if (wants_intervals && run_tables.empty())
    throw ConfigError("--write-intervals: error: needs a table of runs");
  std::vector<Findings> findings;
  if (!run_tables.empty())
    findings.push_back(runs(run_tables, rules, *split, workers, wants_intervals,
                            !options.readme.empty() && !options.zero_shot,
                            options.zero_shot ? "zero-shot" : "accuracy"));
  if (!collective_tables.empty()) findings.push_back(collectives(collective_tables, rules));

  ValidateOutcome outcome;
  std::vector<File> files;
  std::vector<std::string> written;
  for (const Findings& part : findings) {
    outcome.text += (outcome.text.empty() ? "" : "\n") + part.text;
    files.insert(files.end(), part.files.begin(), part.files.end());
  }
  if (!options.out.empty()) {
    outcome.problem = write_files(options.out, files);
    for (const auto& [name, content] : files)
      written.push_back(fmt::format("{}/{}", options.out.string(), name));
    outcome.text += fmt::format("\nwrote {}\n", fmt::join(written, ", "));
  }
  for (const Findings& part : findings)
    if (outcome.problem.empty() && !part.intervals.empty())
      outcome.problem = replace_file(options.intervals, part.intervals);
  if (outcome.problem.empty() && !options.readme.empty())
    outcome.problem = write_readme(options.readme, findings);
  return outcome;
}

}  // namespace windtunnel

#include "commands/validate_summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "commands/csv.hpp"
#include "config/config_error.hpp"

namespace windtunnel {
namespace {

constexpr std::size_t kLeastGroup = 3;  // layouts that make a ranking

void count(const ValidatedRow& row, TableSummary& summary) {
  ++summary.rows;
  if (!row.is_simulated())
    ++summary.refused[row.outcome.refusal->reason];
  else
    ++(row.is_timed() ? summary.timed : summary.memory_only);
  if (!row.is_simulated()) return;
  MemoryTable& memory = summary.memory;
  const bool fits = row.outcome.fits();
  if (row.is_oom)
    ++(fits ? memory.fails_wrong : memory.fails_right);
  else
    ++(fits ? memory.fits_right : memory.fits_wrong);
}

// Mean |error| of the null models on the rows that we timed.
std::optional<double> null_error(const std::vector<const ValidatedRow*>& rows,
                                 std::optional<double> ValidatedRow::*model) {
  std::vector<Pair> pairs;
  for (const ValidatedRow* row : rows)
    if (row->*model) pairs.push_back({*(row->*model), row->published->seconds});
  const auto errors = error_summary(pairs);
  return errors ? std::optional(errors->mape) : std::nullopt;
}

void rank_layouts(const std::vector<const ValidatedRow*>& rows, TableSummary& summary) {
  std::map<std::string, std::vector<Pair>> groups;
  for (const ValidatedRow* row : rows) groups[row->group()].push_back(row->pair());
  double correlations = 0, correlated = 0, regrets = 0, ranked = 0;
  for (const auto& [key, pairs] : groups) {
    if (pairs.size() < kLeastGroup) continue;
    ++summary.groups;
    const auto size = double(pairs.size());
    if (const auto correlation = spearman(pairs)) {
      correlations += size * *correlation;
      correlated += size;
    }
    const double loss = regret(pairs);
    regrets += size * loss;
    ranked += size;
    summary.worst_regret = std::max(summary.worst_regret, loss);
  }
  if (correlated > 0) summary.spearman = correlations / correlated;
  if (ranked > 0) summary.regret = regrets / ranked;
}

void compare_schedules(const std::vector<const ValidatedRow*>& rows, TableSummary& summary) {
  std::map<std::string, std::vector<const ValidatedRow*>> groups;
  for (const ValidatedRow* row : rows) groups[row->group_of_schedules()].push_back(row);
  std::vector<Pair> ratios;
  for (const auto& [key, group] : groups)
    for (std::size_t b = 1; b < group.size(); ++b)
      for (std::size_t a = 0; a < b; ++a) {
        if (group[a]->row.text("schedule") == group[b]->row.text("schedule")) continue;
        const Pair first = group[a]->pair(), second = group[b]->pair();
        ratios.push_back({second.predicted / first.predicted, second.published / first.published});
      }
  if (const auto errors = error_summary(ratios)) summary.schedule_ratio = errors->mape;
}

TableSummary summary_of(const std::string& name, const std::vector<const ValidatedRow*>& rows) {
  TableSummary summary;
  summary.table = name;
  std::vector<const ValidatedRow*> timed;
  std::vector<Pair> pairs, memory;
  for (const ValidatedRow* row : rows) {
    count(*row, summary);
    if (const auto pair = row->memory_pair()) memory.push_back(*pair);
    if (!row->is_timed()) continue;
    timed.push_back(row);
    pairs.push_back(row->pair());
  }
  summary.errors = error_summary(pairs);
  summary.memory_errors = error_summary(memory);
  summary.null_flops = null_error(timed, &ValidatedRow::null_flops);
  summary.null_regression = null_error(timed, &ValidatedRow::null_regression);
  rank_layouts(timed, summary);
  compare_schedules(timed, summary);
  return summary;
}

std::string percent(std::optional<double> value, bool with_sign = false) {
  if (!value) return "-";
  return with_sign ? fmt::format("{:+.1f}", 100 * *value) : fmt::format("{:.1f}", 100 * *value);
}

std::optional<double> of(const std::optional<ErrorSummary>& errors, double ErrorSummary::*part) {
  return errors ? std::optional((*errors).*part) : std::nullopt;
}

std::string number(std::optional<double> value) {
  return value ? fmt::format("{}", *value) : "";
}

struct Cell {
  const char* name;  // in the terminal and in Markdown
  std::string text;
};

std::vector<Cell> cells(const TableSummary& table) {
  const auto& errors = table.errors;
  const MemoryTable& memory = table.memory;
  return {{"table", table.table},
          {"rows", fmt::format("{}", table.rows)},
          {"timed", fmt::format("{}", table.timed)},
          {"OOM", fmt::format("{}", table.memory_only)},
          {"MAPE %", percent(of(errors, &ErrorSummary::mape))},
          {"median", percent(of(errors, &ErrorSummary::median))},
          {"p90", percent(of(errors, &ErrorSummary::p90))},
          {"worst", percent(of(errors, &ErrorSummary::worst))},
          {"bias", percent(of(errors, &ErrorSummary::bias), true)},
          {"FLOPs null", percent(table.null_flops)},
          {"5-term null", percent(table.null_regression)},
          {"Spearman", table.spearman ? fmt::format("{:.2f}", *table.spearman) : "-"},
          {"regret %", percent(table.regret)},
          {"schedules %", percent(table.schedule_ratio)},
          {"fits right", memory.rows() == 0 ? "-"
                                            : fmt::format("{}/{}", memory.fits_right,
                                                          memory.fits_right + memory.fits_wrong)},
          {"OOM right",
           memory.fails_right + memory.fails_wrong == 0
               ? "-"
               : fmt::format("{}/{}", memory.fails_right, memory.fails_right + memory.fails_wrong)},
          {"memory %", percent(of(table.memory_errors, &ErrorSummary::mape))},
          {"memory bias", percent(of(table.memory_errors, &ErrorSummary::bias), true)}};
}

std::string reason_lines(const TableSummary& all, std::string_view format) {
  std::vector<std::pair<int, std::string>> reasons;
  for (const auto& [reason, rows] : all.refused) reasons.emplace_back(-rows, reason);
  std::sort(reasons.begin(), reasons.end());
  std::string text;
  for (const auto& [rows, reason] : reasons)
    text += fmt::format(fmt::runtime(format), -rows, reason);
  return text;
}

nlohmann::ordered_json json_of(const std::optional<ErrorSummary>& errors) {
  if (!errors) return nullptr;
  return {{"rows", errors->rows}, {"mape", errors->mape},   {"median", errors->median},
          {"p90", errors->p90},   {"worst", errors->worst}, {"bias", errors->bias}};
}

nlohmann::ordered_json json_of(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace

std::vector<TableSummary> summaries(const Validation& validation) {
  std::map<std::string, std::vector<const ValidatedRow*>> by_table;
  std::vector<const ValidatedRow*> all;
  for (const ValidatedRow& row : validation.rows) {
    by_table[row.table].push_back(&row);
    all.push_back(&row);
  }
  std::vector<TableSummary> result;
  std::set<std::string> done;
  for (const std::string& table : validation.tables)
    if (done.insert(table).second) result.push_back(summary_of(table, by_table[table]));
  result.push_back(summary_of("all", all));
  return result;
}

std::string to_text(const std::vector<TableSummary>& tables) {
  std::vector<std::vector<Cell>> rows;
  rows.reserve(tables.size());
  for (const TableSummary& table : tables) rows.push_back(cells(table));
  std::vector<std::size_t> widths;
  for (const Cell& cell : rows.front()) widths.push_back(std::string_view(cell.name).size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].text.size());
  std::string text;
  const auto add = [&](std::size_t i, std::string_view cell) {
    text +=
        i == 0 ? fmt::format("{:<{}}", cell, widths[i]) : fmt::format("  {:>{}}", cell, widths[i]);
  };
  for (std::size_t i = 0; i < widths.size(); ++i) add(i, rows.front()[i].name);
  text += '\n';
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) add(i, row[i].text);
    text += '\n';
  }
  const TableSummary& all = tables.back();
  const std::size_t refused = all.rows - all.timed - all.memory_only;
  text += fmt::format("\n{} of {} rows not simulated\n", refused, all.rows);
  return text + reason_lines(all, "{:>6}  {}\n");
}

std::string summary_csv(const std::vector<TableSummary>& tables) {
  std::string text =
      "table,rows,timed,memory_only,not_simulated,mape,median,p90,worst,bias,"
      "null_flops_mape,null_regression_mape,groups,spearman,regret,worst_regret,schedule_ratio_"
      "mape,"
      "fits_right,fits_wrong,oom_right,oom_wrong,memory_rows,memory_mape,memory_bias\n";
  for (const TableSummary& table : tables) {
    const auto& errors = table.errors;
    const MemoryTable& memory = table.memory;
    text += csv_line({table.table,
                      fmt::format("{}", table.rows),
                      fmt::format("{}", table.timed),
                      fmt::format("{}", table.memory_only),
                      fmt::format("{}", table.rows - table.timed - table.memory_only),
                      number(of(errors, &ErrorSummary::mape)),
                      number(of(errors, &ErrorSummary::median)),
                      number(of(errors, &ErrorSummary::p90)),
                      number(of(errors, &ErrorSummary::worst)),
                      number(of(errors, &ErrorSummary::bias)),
                      number(table.null_flops),
                      number(table.null_regression),
                      fmt::format("{}", table.groups),
                      number(table.spearman),
                      number(table.regret),
                      fmt::format("{}", table.worst_regret),
                      number(table.schedule_ratio),
                      fmt::format("{}", memory.fits_right),
                      fmt::format("{}", memory.fits_wrong),
                      fmt::format("{}", memory.fails_right),
                      fmt::format("{}", memory.fails_wrong),
                      fmt::format("{}", table.memory_errors ? table.memory_errors->rows : 0),
                      number(of(table.memory_errors, &ErrorSummary::mape)),
                      number(of(table.memory_errors, &ErrorSummary::bias))}) +
            "\n";
  }
  return text;
}

std::string summary_json(const std::vector<TableSummary>& tables) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const TableSummary& table : tables) {
    const MemoryTable& memory = table.memory;
    nlohmann::ordered_json item;
    item["table"] = table.table;
    item["rows"] = table.rows;
    item["timed"] = table.timed;
    item["memory_only"] = table.memory_only;
    item["not_simulated"] = nlohmann::ordered_json::object();
    for (const auto& [reason, rows] : table.refused) item["not_simulated"][reason] = rows;
    item["errors"] = json_of(table.errors);
    item["null_flops_mape"] = json_of(table.null_flops);
    item["null_regression_mape"] = json_of(table.null_regression);
    item["groups"] = table.groups;
    item["spearman"] = json_of(table.spearman);
    item["regret"] = json_of(table.regret);
    item["worst_regret"] = table.worst_regret;
    item["schedule_ratio_mape"] = json_of(table.schedule_ratio);
    item["memory"] = {{"fits_right", memory.fits_right},
                      {"fits_wrong", memory.fits_wrong},
                      {"oom_right", memory.fails_right},
                      {"oom_wrong", memory.fails_wrong},
                      {"peak_errors", json_of(table.memory_errors)}};
    list.push_back(std::move(item));
  }
  return nlohmann::ordered_json{{"tables", list}}.dump(2) + "\n";
}

std::string rows_csv(const Validation& validation) {
  std::string text =
      "table,row,split,model,gpu_type,gpus,data,tensor,pipeline,virtual_stages,micro_batch,"
      "global_batch,outcome,reason,detail,published_s,published_from,predicted_s,error,"
      "null_flops_s,null_regression_s,published_memory_bytes,memory_counts,"
      "comparable_memory_bytes,predicted_memory_bytes,capacity_bytes,predicted_fits,ran,recompute,"
      "assumed\n";
  for (const ValidatedRow& row : validation.rows) {
    const JobOutcome& outcome = row.outcome;
    const bool simulated = row.is_simulated(), timed = row.is_timed();
    const auto flag = [](bool value) { return std::string(value ? "yes" : "no"); };
    CsvRow fields = {row.table, row.row.name(), row.row.text("split")};
    for (const char* column : {"model", "gpu_type", "gpus", "dp", "tp", "pp", "vpp", "mbs", "gbs"})
      fields.push_back(row.row.text(column));
    const auto memory = row.published_memory;
    const auto comparable = row.memory_pair();
    for (const std::string& field :
         {std::string(timed       ? "timed"
                      : simulated ? "memory only"
                                  : "not simulated"),
          simulated ? "" : outcome.refusal->reason, simulated ? "" : outcome.refusal->detail,
          row.published ? fmt::format("{}", row.published->seconds) : "",
          row.published ? row.published->column : "",
          timed ? fmt::format("{}", outcome.seconds) : "",
          timed ? fmt::format("{:.4f}", row.pair().error()) : "", number(row.null_flops),
          number(row.null_regression), memory ? fmt::format("{:.0f}", *memory) : "",
          row.memory_counts, comparable ? fmt::format("{:.0f}", comparable->predicted) : "",
          simulated ? fmt::format("{:.0f}", outcome.memory) : "",
          simulated ? fmt::format("{:.0f}", outcome.capacity) : "",
          simulated ? flag(outcome.fits()) : "", simulated ? flag(!row.is_oom) : "",
          simulated ? outcome.recompute : "", joined(row.mapped.assumed)})
      fields.push_back(field);
    text += csv_line(fields) + "\n";
  }
  return text;
}

bool is_small(const Validation& validation) {
  constexpr std::size_t kMost = 20;
  return validation.rows.size() <= kMost;
}

std::string rows_text(const Validation& validation) {
  const auto name = [](const ValidatedRow& row) {
    return row.mapped.job.empty() ? row.row.name() : row.mapped.job;
  };
  std::size_t width = 3;
  for (const ValidatedRow& row : validation.rows) width = std::max(width, name(row).size());
  std::string text = fmt::format("{:<{}}  {:>11}  {:>11}  {:>8}\n", "row", width, "published",
                                 "predicted", "error");
  for (const ValidatedRow& row : validation.rows)
    text += row.is_timed()
                ? fmt::format("{:<{}}  {:>9.3f} s  {:>9.3f} s  {:>+6.1f} %\n", name(row), width,
                              row.pair().published, row.pair().predicted, 100 * row.pair().error())
                : fmt::format("{:<{}}  {}\n", name(row), width,
                              row.is_simulated() ? "memory only" : row.outcome.refusal->reason);
  return text + "\n";
}

std::string to_markdown(const std::vector<TableSummary>& tables) {
  std::string text, rule;
  for (const Cell& cell : cells(tables.front())) {
    text += fmt::format("| {} ", cell.name);
    rule += rule.empty() ? "|---" : "|---:";
  }
  text += "|\n" + rule + "|\n";
  for (const TableSummary& table : tables) {
    for (const Cell& cell : cells(table)) text += fmt::format("| {} ", cell.text);
    text += "|\n";
  }
  const TableSummary& all = tables.back();
  text += fmt::format("\n{} of {} rows are not simulated:\n\n| rows | why |\n|---:|---|\n",
                      all.rows - all.timed - all.memory_only, all.rows);
  return text + reason_lines(all, "| {} | {} |\n");
}

std::string between_marks(const std::string& text, std::string_view mark,
                          const std::string& content, const std::string& name) {
  const std::string first = fmt::format("<!-- {}: begin -->", mark);
  const std::string last = fmt::format("<!-- {}: end -->", mark);
  const std::size_t begin = text.find(first), end = text.find(last);
  if (begin == std::string::npos || end == std::string::npos || end < begin)
    throw ConfigError(fmt::format("{}: error: missing the lines '{}' and '{}'", name, first, last));
  return text.substr(0, begin + first.size()) + "\n" + content + text.substr(end);
}

}  // namespace windtunnel

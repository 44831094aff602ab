#include "commands/validate_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "commands/csv.hpp"
#include "commands/files.hpp"
#include "config/config_error.hpp"
#include "config/yaml_file.hpp"

namespace windtunnel {
namespace {

constexpr std::array<std::string_view, 61> kColumns = {"split",
                                                       "row_id",
                                                       "source",
                                                       "source_ref",
                                                       "provenance",
                                                       "model",
                                                       "arch",
                                                       "layers",
                                                       "hidden",
                                                       "heads",
                                                       "kv_heads",
                                                       "head_dim",
                                                       "ffn",
                                                       "seq_len",
                                                       "vocab",
                                                       "experts",
                                                       "topk",
                                                       "params_b",
                                                       "gpus",
                                                       "gpu_type",
                                                       "gpu_mem_gb",
                                                       "nodes",
                                                       "gpus_per_node",
                                                       "intra_node",
                                                       "inter_node",
                                                       "tp",
                                                       "pp",
                                                       "vpp",
                                                       "schedule",
                                                       "dp",
                                                       "cp",
                                                       "ep",
                                                       "etp",
                                                       "zero_stage",
                                                       "mbs",
                                                       "gbs",
                                                       "grad_accum",
                                                       "precision",
                                                       "recompute",
                                                       "seq_parallel",
                                                       "flash_attn",
                                                       "framework",
                                                       "framework_version",
                                                       "date",
                                                       "status",
                                                       "s_per_iter",
                                                       "s_per_iter_calc",
                                                       "tflops_per_gpu",
                                                       "tflops_kind",
                                                       "tokens_per_s_per_gpu",
                                                       "samples_per_s",
                                                       "mfu_pct",
                                                       "hfu_pct",
                                                       "mem_gb",
                                                       "mem_kind",
                                                       "other_metric",
                                                       "other_value",
                                                       "n_samples",
                                                       "spread",
                                                       "calc_model_tflops",
                                                       "calc_ratio"};
constexpr std::array<std::string_view, 4> kMoreColumns = {"flags", "notes", "job", "published_s"};
constexpr std::array<std::string_view, 5> kMeasured = {
    "s_per_iter", "s_per_iter_calc", "tokens_per_s_per_gpu", "samples_per_s", "published_s"};

[[noreturn]] void fail(const std::string& name, int line, const std::string& why) {
  throw ConfigError(fmt::format("{}:{}: error: {}", name, line, why));
}

std::vector<std::string_view> known_columns() {
  std::vector<std::string_view> known(kColumns.begin(), kColumns.end());
  known.insert(known.end(), kMoreColumns.begin(), kMoreColumns.end());
  return known;
}

CsvRow read_header(const CsvRow& header, const std::string& name, int line) {
  const std::vector<std::string_view> known = known_columns();
  for (std::size_t i = 0; i < header.size(); ++i) {
    const auto first = header.begin(), here = first + std::ptrdiff_t(i);
    if (std::find(known.begin(), known.end(), header[i]) == known.end())
      fail(name, line,
           fmt::format("unknown column '{}'{}", header[i], suggestion(header[i], known)));
    if (std::find(first, here, header[i]) != here)
      fail(name, line, fmt::format("column '{}' for the second time", header[i]));
  }
  const auto has = [&](std::string_view column) {
    return std::find(header.begin(), header.end(), column) != header.end();
  };
  if (has("job")) {
    if (!has("published_s")) fail(name, line, "missing column 'published_s'");
    return header;
  }
  for (const char* column : {"model", "arch", "gpus", "gpu_type", "gbs"})
    if (!has(column)) fail(name, line, fmt::format("missing column '{}'", column));
  return header;
}

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

void check_row(const PublishedRow& row) {
  for (const std::string_view column : kMeasured) {
    const std::string text = row.text(column);
    if (text.empty()) continue;
    const auto value = number_of(text);
    if (!value || *value <= 0)
      fail(row.file, row.line,
           fmt::format("{}: expected a positive number or NA, got '{}'", column, text));
  }
  if (const std::string split = row.text("split");
      !split.empty() && split != "test" && split != "calibrate")
    fail(row.file, row.line, fmt::format("split: expected test or calibrate, got '{}'", split));
}

// Whether a quoted field goes on past the end of the line.
bool is_cut(std::string_view line) {
  return std::count(line.begin(), line.end(), '"') % 2 != 0;
}

}  // namespace

std::string PublishedRow::text(std::string_view column) const {
  const auto cell = cells.find(column);
  return cell == cells.end() || cell->second == "NA" ? "" : cell->second;
}

std::optional<double> PublishedRow::number(std::string_view column) const {
  return number_of(text(column));
}

std::optional<long long> PublishedRow::count(std::string_view column) const {
  constexpr double kMost = 1e15;
  const auto value = number(column);
  if (!value || *value < 1 || *value > kMost || *value != std::floor(*value)) return std::nullopt;
  return static_cast<long long>(*value);
}

std::string PublishedRow::name() const {
  const std::string id = text("row_id");
  return id.empty() ? fmt::format("line {}", line) : id;
}

std::vector<PublishedRow> published_rows(std::string_view text, const std::string& name) {
  std::vector<PublishedRow> rows;
  CsvRow header;
  int line = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view content = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line;
    if (content.ends_with('\r')) content.remove_suffix(1);
    if (content.empty() || content.starts_with('#')) continue;
    if (is_cut(content)) fail(name, line, "a quoted field without its closing quote");
    const CsvRow fields = csv_fields(content);
    if (header.empty()) {
      header = read_header(fields, name, line);
      continue;
    }
    if (fields.size() != header.size())
      fail(name, line,
           fmt::format("{} fields, but the header has {}", fields.size(), header.size()));
    PublishedRow& row = rows.emplace_back(PublishedRow{.file = name, .line = line, .cells = {}});
    for (std::size_t i = 0; i < header.size(); ++i) row.cells[header[i]] = fields[i];
    check_row(row);
  }
  if (header.empty()) fail(name, 1, "the table is empty");
  return rows;
}

std::vector<PublishedRow> read_published(const std::string& path) {
  const auto content = content_of(path);
  if (!content) throw ConfigError(fmt::format("{}: error: cannot be read", path));
  return published_rows(*content, path);
}

std::optional<long long> published_batch(const PublishedRow& row) {
  if (const auto batch = row.count("gbs")) return batch;
  const auto micro = row.count("mbs"), data = row.count("dp"), steps = row.count("grad_accum");
  if (!micro || !data) return std::nullopt;
  return *micro * *data * steps.value_or(1);
}

std::optional<PublishedTime> published_time(const PublishedRow& row) {
  for (const char* column : {"published_s", "s_per_iter", "s_per_iter_calc"}) {
    const auto seconds = row.number(column);
    if (!seconds) continue;
    // Seconds that a printed MFU gave are no seconds that anybody published.
    if (row.text("notes").find("inverted from MFU") != std::string::npos) continue;
    return PublishedTime{*seconds, column};
  }
  const auto batch = published_batch(row);
  if (!batch) return std::nullopt;
  const auto gpus = row.count("gpus"), tokens = row.count("seq_len");
  const auto token_rate = row.number("tokens_per_s_per_gpu");
  if (token_rate && gpus && tokens)
    return PublishedTime{double(*batch) * double(*tokens) / (*token_rate * double(*gpus)),
                         "tokens_per_s_per_gpu"};
  if (const auto rate = row.number("samples_per_s"))
    return PublishedTime{double(*batch) / *rate, "samples_per_s"};
  return std::nullopt;
}

std::optional<double> published_memory(const PublishedRow& row, std::string_view unit) {
  const auto value = row.number("mem_gb");
  if (!value) return std::nullopt;
  const bool is_binary =
      unit.empty() ? row.text("mem_kind").find("GiB") != std::string::npos : unit == "GiB";
  return *value * (is_binary ? 1024.0 * 1024.0 * 1024.0 : 1e9);
}

}  // namespace windtunnel

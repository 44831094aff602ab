#include <fmt/format.h>

#include "commands/validate_mapping.hpp"
#include "config/load.hpp"

namespace windtunnel {

const Rule& RowMapping::rule(std::string_view section, const std::string& cell) {
  const Rule* found = rules_.find(section, cell);
  if (!found) refuse("a word without a rule", fmt::format("{}: {}", section, cell));
  if (const std::string reason = (*found)["reason"]; !reason.empty()) refuse(reason, cell);
  assume((*found)["note"]);
  return *found;
}

long long RowMapping::size(std::string_view column) const {
  const auto value = row_.count(column);
  if (!value) refuse("sizes not stated", std::string(column));
  return *value;
}

long long RowMapping::size_or(std::string_view column, long long otherwise) {
  if (const auto value = row_.count(column)) return *value;
  assume(fmt::format("{} {}", column, otherwise));
  return otherwise;
}

void RowMapping::check_usable() {
  const std::string status = row_.text("status"), provenance = row_.text("provenance");
  if (status != "ok" && status != "OOM" && !status.empty())
    refuse("the run ended otherwise", status);
  if (provenance == "analytical" || provenance == "memory") refuse("not a measurement", provenance);
  if (provenance == "secondary") refuse("quoted by somebody else");
  const std::string flags = row_.text("flags");
  if (const Rule* flag = rules_.find("flags", flags)) refuse((*flag)["reason"], flags);
  const std::string notes = row_.text("notes");
  if (const Rule* found = rules_.find("notes", notes)) {
    if (const std::string reason = (*found)["reason"]; !reason.empty()) refuse(reason);
    assume((*found)["note"]);
  }
  if (status == "OOM" || published_time(row_) || published_memory(row_)) return;
  if (contains(notes, "inverted from MFU")) refuse("only an MFU is published");
  if (!row_.text("samples_per_s").empty() || !row_.text("tokens_per_s_per_gpu").empty())
    refuse("sizes not stated", "gbs");
  refuse("no time published");
}

void RowMapping::read_framework() {
  const std::string cell = row_.text("framework") + " | " + row_.text("source") + " | " +
                           row_.text("source_ref") + " | " + row_.text("flash_attn");
  framework_ = &rule("frameworks", cell);
  assume("software as " + (*framework_)["name"]);
}

// Where a source's rows leave out what its published configurations say of such runs.
void RowMapping::read_layout() {
  const std::string model = row_.text("model"), gpu = row_.text("gpu_type");
  const std::string cell =
      fmt::format("{0} on {1} x {2} by {3} | {0} on {2} | {0} in {4} on {2} of {5} | {3}: {6}",
                  model, row_.text("gpus"), gpu, row_.text("framework"), row_.text("precision"),
                  row_.text("framework_version"), row_.text("notes"));
  layout_ = rules_.find("layouts", cell);
  if (!layout_) return;
  if (const std::string reason = (*layout_)["reason"]; !reason.empty()) refuse(reason, cell);
  assume((*layout_)["note"]);
}

// The layout's word goes before the framework's.
std::string RowMapping::usual(std::string_view key) const {
  const std::string of_layout = layout_ ? (*layout_)[key] : "";
  return of_layout.empty() ? (*framework_)[key] : of_layout;
}

MappedRow RowMapping::mapped() {
  if (const std::string job = row_.text("job"); !job.empty()) {
    result_.job = job;
    return result_;
  }
  try {
    check_usable();
    read_framework();
    read_layout();
    const std::string numbers = precision(), what = model(), where = cluster(), how = parallel();
    result_.text = what + where + fmt::format("gpus: {}\n", gpus_) + how;
    result_.text += is_images_ ? fmt::format("batch: {{global: {}, micro: {}}}\n", batch_, micro_)
                               : fmt::format("batch: {{global: {}, micro: {}, {}}}\n", batch_,
                                             micro_, tokens());
    result_.text += numbers + execution();
  } catch (Refused& refused) {
    result_ = {};
    result_.refusal = std::move(refused.why);
  }
  return result_;
}

std::string MappedRow::key() const {
  return fmt::format("{}\n{}\n{}\n{}\n{}", job, text, fmt::join(overrides, "\n"),
                     fmt::join(recompute, " "), fmt::join(micro_batches, " "));
}

MappedRow mapped_row(const PublishedRow& row, const Rules& rules) {
  return RowMapping(row, rules).mapped();
}

Job job_of(const MappedRow& mapped, std::string_view recompute, long long micro_batch,
           const Rules& rules) {
  if (!mapped.job.empty()) return load_job(mapped.job);
  std::vector<std::string> overrides = mapped.overrides;
  if (micro_batch > 0) overrides.push_back(fmt::format("batch.micro={}", micro_batch));
  return load_job_text(mapped.text + fmt::format("recompute: {}\n", recompute), rules.path,
                       overrides);
}

}  // namespace windtunnel

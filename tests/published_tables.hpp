// Rows of validation/published by name, and the jobs that they become.
#pragma once

#include <string>

#include "catch.hpp"
#include "commands/validate_job.hpp"
#include "commands/validate_table.hpp"

namespace windtunnel {

inline const std::string kPublished = WINDTUNNEL_SOURCE_DIR "/validation/published/";

inline const Rules& rules() {
  static const Rules kRules = load_rules(WINDTUNNEL_SOURCE_DIR "/validation/systems.yaml");
  return kRules;
}

inline PublishedRow row_named(const std::string& table, const std::string& id) {
  for (const PublishedRow& row : read_published(kPublished + table + ".csv"))
    if (row.name() == table + "-" + id) return row;
  FAIL("no row " << id << " in " << table);
  return {};
}

// Of the row, with the first recompute that it allows.
inline Job job_for(const std::string& table, const std::string& id) {
  const MappedRow mapped = mapped_row(row_named(table, id), rules());
  INFO(table << " " << id << ": " << (mapped.refusal ? mapped.refusal->reason : mapped.text));
  REQUIRE_FALSE(mapped.refusal);
  return job_of(mapped, mapped.recompute.front(), 0, rules());
}

inline std::string refusal_of(const std::string& table, const std::string& id) {
  const MappedRow mapped = mapped_row(row_named(table, id), rules());
  return mapped.refusal ? mapped.refusal->reason : "";
}

}  // namespace windtunnel

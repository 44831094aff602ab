// Tables of collective measurements (nccl-tests and the like) against the engine's own collectives.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/work.hpp"
#include "commands/validate_rules.hpp"
#include "commands/validate_statistics.hpp"

namespace windtunnel {

// Whether the file's header is that of such a table; false for one that cannot be read.
bool is_collective_table(const std::string& path);

struct CollectiveRow {
  std::string table, name;  // file stem; row_id, or the line
  std::string system;       // of the table, "8 x A100-SXM4-40GB ..."
  CollectiveKind kind = CollectiveKind::AllReduce;
  int nodes = 1, ranks = 1;
  double bytes = 0;              // as collectives/ counts them
  Pair seconds;                  // predicted and measured
  std::string refusal;           // why it is not predicted; empty if it is
  std::optional<double> fitted;  // predicted seconds, corrected by the other systems' measurements
};

// All rows, predicted where the rules know the system. Throws ConfigError for a table or a system
// that is wrong.
std::vector<CollectiveRow> collective_rows(const std::vector<std::string>& files,
                                           const Rules& rules);

std::string collectives_text(const std::vector<CollectiveRow>& rows);
std::string collectives_markdown(const std::vector<CollectiveRow>& rows);
std::string collectives_csv(const std::vector<CollectiveRow>& rows);

}  // namespace windtunnel

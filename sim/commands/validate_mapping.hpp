// A published row on its way to a job: what its cells say, and where they say nothing what the
// rules assume. Each part of the job's text is a function; the files named after the parts have
// them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "commands/validate_job.hpp"

namespace windtunnel {

constexpr long long kUsualGpus = 8;  // of a server

// Thrown to leave a row.
struct Refused {
  Refusal why;
};
[[noreturn]] inline void refuse(std::string reason, std::string detail = "") {
  throw Refused{{std::move(reason), std::move(detail)}};
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// What the parts of a row's job share while it is written.
class RowMapping {
 public:
  RowMapping(const PublishedRow& row, const Rules& rules) : row_(row), rules_(rules) {}
  MappedRow mapped();

 private:
  void check_usable();
  void read_framework();
  void read_layout();
  void read_sizes();
  long long gpus_of_node(const Rule& gpu, long long of_server);
  std::string fabric(const Rule& gpu, long long servers);
  std::string cluster();
  std::string model();
  std::string transformer(const Rule& rule);
  std::string experts();
  std::optional<long long> virtual_stages();
  std::string stage_layers();
  std::string parallel();
  std::string parallel_of_layers();
  std::string precision();
  std::string execution();
  std::string usual(std::string_view key) const;
  std::string recomputation();
  double share_by_utilization() const;

  // The rule for the cell; refuses the row if the rule gives a reason.
  const Rule& rule(std::string_view section, const std::string& cell);
  long long size(std::string_view column) const;  // refuses the row if the cell gives none
  long long size_or(std::string_view column, long long otherwise);
  std::optional<long long> stated_or_usual(std::string_view column, std::string_view key);
  bool is_shorter() const;
  std::string tokens();
  void assume(const std::string& text) {
    if (!text.empty()) result_.assumed.push_back(text);
  }

  void set_node(const std::string& change) {
    result_.overrides.push_back("cluster.nodes.0.type." + change);
  }

  const PublishedRow& row_;
  const Rules& rules_;
  const Rule *framework_ = nullptr, *model_ = nullptr;
  const Rule* layout_ = nullptr;  // null where no rule is of such a run
  MappedRow result_;
  long long gpus_ = 0, tensor_ = 1, pipeline_ = 1, data_ = 1, context_ = 1, chunks_ = 1, micro_ = 1,
            batch_ = 0;
  long long blocks_ = 0;
  bool is_images_ = false;
  std::string schedule_, type_, attention_;
};

}  // namespace windtunnel

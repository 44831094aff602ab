#include "commands/trial_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/check.hpp"
#include "report/format.hpp"

namespace windtunnel {

namespace {

std::string kind_of(const Op& op) {
  switch (op.kind) {
    case OpKind::Compute:
      return std::string(name_of(kPurposeNames, op.purpose));
    case OpKind::Collective:
      return fmt::format("{}, {} of {} over {}", name_of(kPurposeNames, op.purpose),
                         name_of(kCollectiveKindNames, op.collective),
                         readable(op.bytes.value, "B"), name_of(kGroupKindNames, op.group.kind));
    case OpKind::Send:
      return fmt::format("send {}, {}", name_of(kPurposeNames, op.purpose),
                         readable(op.bytes.value, "B"));
    case OpKind::Receive:
      return fmt::format("receive {}, {}", name_of(kPurposeNames, op.purpose),
                         readable(op.bytes.value, "B"));
  }
  return "";
}

}  // namespace

std::vector<OpComparison> op_comparisons(const Plan& plan, const Trace& predicted,
                                         const Trace& measured) {
  std::vector<OpComparison> rows;
  std::map<std::string, std::size_t> row_of;
  const auto add = [&](const Trace& trace, double OpComparison::*side, bool counts) {
    for (const RankTrace& rank : trace.ranks) {
      SIM_CHECK(rank.represented == 1, "a trial compares every rank");
      const Program& program = plan.programs[std::size_t(rank.program)];
      for (const Span& span : rank.spans) {
        const std::string what = kind_of(program.ops[std::size_t(span.op)]);
        const auto [found, is_new] = row_of.try_emplace(what, rows.size());
        if (is_new) rows.push_back({what});
        OpComparison& row = rows[found->second];
        row.*side += (span.end - span.start).value;
        if (counts) ++row.count;
      }
    }
  };
  add(predicted, &OpComparison::predicted, true);
  add(measured, &OpComparison::measured, false);
  for (OpComparison& row : rows) {
    row.predicted /= row.count;
    row.measured /= row.count;
  }
  return rows;
}

std::string to_text(const std::vector<OpComparison>& rows) {
  std::size_t width = 0;
  for (const OpComparison& row : rows) width = std::max(width, row.what.size());
  std::string text = fmt::format("  {:<{}}  {:>6}  {:>11}  {:>11}  {:>8}\n", "one op, mean", width,
                                 "count", "predicted", "measured", "error");
  for (const OpComparison& row : rows)
    text += fmt::format("  {:<{}}  {:>6}  {:>11}  {:>11}  {:>+7.1f}%\n", row.what, width, row.count,
                        readable_time(Seconds(row.predicted)), readable_time(Seconds(row.measured)),
                        100 * row.error());
  return text;
}

}  // namespace windtunnel

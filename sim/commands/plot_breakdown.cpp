// Where the time goes: a bar for each pipeline stage, as report.html draws it.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "commands/plot.hpp"
#include "commands/plot_look.hpp"
#include "commands/run_files.hpp"
#include "commands/trace_file.hpp"
#include "report/format.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

constexpr double kWidth = 1100, kLeft = 150, kRight = 24, kTop = 44;

// A stack of seconds by category.
struct Bar {
  std::string label;
  double ranks = 0;
  std::map<std::string, double> parts;  // sums over ranks, by key of report.json
};

// The bubble of a rank by cause, from its pauses; what the trace does not explain is "unknown".
std::map<std::string, double> bubble_of(const TraceFile& trace, const TracedRank& rank) {
  static const std::set<std::string> transfers = {"pipeline_transfer", "data_communication",
                                                  "other_communication"};
  std::map<std::string, double> bubble;
  for (const TracedSlice& pause : rank.idle) {
    const std::string& cause = trace.ops[std::size_t(pause.op)].category;
    if (!transfers.contains(cause)) bubble[cause] += double(pause.end - pause.start) * 1e-12;
  }
  return bubble;
}

// As on the page: one bar a stage, or a rank where there is no pipeline and few ranks are shown.
std::vector<Bar> bars_of(const RunFiles& run, const TraceFile& trace) {
  constexpr std::size_t kMostRanks = 24;
  std::map<int, const TracedRank*> traced;
  for (const TracedRank& rank : trace.ranks) traced[rank.rank] = &rank;
  const bool is_by_rank = run.ranks.size() <= kMostRanks &&
                          std::all_of(run.ranks.begin(), run.ranks.end(), [&](const RankRow& row) {
                            return row.stage == run.ranks.front().stage;
                          });
  std::map<int, Bar> bars;
  for (const RankRow& row : run.ranks) {
    Bar& bar = bars[is_by_rank ? row.rank : row.stage];
    bar.label = is_by_rank ? fmt::format("rank {}", row.rank) : fmt::format("stage {}", row.stage);
    bar.ranks += row.represented;
    const auto pauses = traced.find(row.rank);
    const auto bubble = pauses == traced.end() ? std::map<std::string, double>()
                                               : bubble_of(trace, *pauses->second);
    for (const auto& [key, seconds] : row.parts) {
      double rest = seconds;
      for (const auto& [cause, part] : bubble) {
        if (key != "bubble") break;
        bar.parts[cause] += part * row.represented;
        rest -= part;
      }
      constexpr double kRounding = 1e-9;  // the trace counts picoseconds
      const std::string name = key == "bubble" ? "unknown" : key;
      if (key != "bubble" || rest > kRounding * run.step_time)
        bar.parts[name] += rest * row.represented;
    }
  }
  std::vector<Bar> list;
  list.reserve(bars.size());
  for (auto& [number, bar] : bars) list.push_back(std::move(bar));
  return list;
}

struct Part {
  std::string_view key, look, name;
};

// The parts of a breakdown, then the causes of a bubble.
std::vector<Part> parts_in_order() {
  std::vector<Part> parts;
  for (const BreakdownPart& part : kBreakdownParts) {
    if (part.key == "bubble") continue;
    const bool is_tensor = part.key == "tensor_communication";
    parts.push_back(
        {part.key, is_tensor ? "tensor" : part.key,
         is_tensor ? "tensor-parallel collectives" : kCategories[category_of(part.key)].name});
  }
  for (const std::string_view cause : {"late_sender", "late_member", "warm_up", "drain", "unknown"})
    parts.push_back({cause, cause, kCategories[category_of(cause)].name});
  return parts;
}

}  // namespace

Picture breakdown_picture(const fs::path& folder) {
  const RunFiles run = run_files(folder);
  const std::vector<Bar> bars = bars_of(run, trace_file(folder / "trace.json"));
  const bool is_dense = bars.size() > 40;
  const double high = is_dense ? 12 : 22, apart = high + (is_dense ? 3 : 6);
  const double bottom = kTop + apart * double(bars.size());
  Picture picture{kWidth, bottom + 40};
  const Pen pen{picture};
  pen.title(14, 24,
            fmt::format("{}: where the time of a step goes, {}", job_name(run),
                        time_text(run.step_time)));
  const double scale = (kWidth - kLeft - kRight) / run.step_time;
  std::vector<LegendItem> legend;
  const std::vector<double> ticks = round_ticks(0, run.step_time, 8);
  pen.axis_below(
      bottom, kTop, ticks, [&](double tick) { return kLeft + tick * scale; }, time_label(ticks));
  std::vector<double> ends(bars.size(), kLeft);
  for (const Part& part : parts_in_order()) {
    const Look look = look_of(category_of(part.look));
    bool is_seen = false;
    for (std::size_t i = 0; i < bars.size(); ++i) {
      const auto found = bars[i].parts.find(std::string(part.key));
      if (found == bars[i].parts.end() || found->second <= 0) continue;
      const double width = found->second / bars[i].ranks * scale;
      picture.add(Rectangle{ends[i], kTop + apart * double(i), width, high, look.colour, look.hatch,
                            std::string(part.key)});
      ends[i] += width;
      is_seen |= width > 1e-6 * (kWidth - kLeft - kRight);
    }
    if (is_seen) legend.push_back(legend_of(look, std::string(part.name)));
  }
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const std::string times = bars[i].ranks > 1 ? fmt::format("  ×{}", bars[i].ranks) : "";
    pen.text(kLeft - 8, kTop + apart * double(i) + high / 2 + 4, bars[i].label + times,
             Anchor::End);
  }
  add_legend(picture, 14, bottom + 40, legend);
  return picture;
}

}  // namespace windtunnel

// Memory over the step, by kind: one small plot for each pipeline stage, as report.html draws it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "commands/plot.hpp"
#include "commands/plot_look.hpp"
#include "commands/run_files.hpp"
#include "commands/trace_file.hpp"
#include "report/format.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double kWide = 300, kHigh = 150, kLeft = 62, kRight = 14, kAbove = 26, kBelow = 40;
constexpr double kHead = 36;

struct Stage {
  int stage = 0;
  double peak = 0, capacity = 0;  // bytes
  std::vector<TracedMemory> course;
};

std::vector<Stage> stages_of(const fs::path& folder, const RunFiles& run, const TraceFile& trace) {
  std::map<int, const TracedRank*> first;
  for (const TracedRank& rank : trace.ranks) first.try_emplace(rank.stage, &rank);
  const fs::path path = folder / "report.json";
  const auto list = run.report.find("memory_bytes");
  if (list == run.report.end() || !list->is_array() || list->empty())
    refuse_file(path, "no 'memory_bytes'");
  std::vector<Stage> stages;
  for (const Json& entry : *list) {
    const auto number = [&](const char* key) {
      const auto found = entry.is_object() ? entry.find(key) : entry.end();
      constexpr double kMost = 1e18;
      if (found == entry.end() || !found->is_number() || found->get<double>() < 0 ||
          found->get<double>() > kMost)
        refuse_file(path, fmt::format("memory_bytes: no number '{}'", key));
      return found->get<double>();
    };
    Stage stage{int(std::min(number("stage"), 2e9)), number("total"), number("capacity"), {}};
    const auto rank = first.find(stage.stage);
    if (rank == first.end() || rank->second->memory.empty())
      refuse_file(folder / "trace.json", fmt::format("no memory of stage {}", stage.stage));
    stage.course = rank->second->memory;
    stages.push_back(std::move(stage));
  }
  return stages;
}

// Of each pixel the moment with the most, so that a peak never gets lost.
std::vector<TracedMemory> thinned(const std::vector<TracedMemory>& course, Picoseconds end) {
  constexpr std::size_t kColumns = 224;
  if (course.size() <= kColumns) return course;
  std::vector<TracedMemory> columns;
  std::int64_t column = -1;
  for (const TracedMemory& memory : course) {
    const auto at = std::int64_t(double(memory.time) / double(end) * double(kColumns));
    if (at != column)
      columns.push_back(memory);
    else if (memory.total() > columns.back().total())
      columns.back() = memory;
    column = at;
  }
  return columns;
}

struct Scale {
  double step = 1, top = 1, left = 0, bottom = 0;
  double x(Picoseconds time) const {
    return left + (kWide - kLeft - kRight) * double(time) * 1e-12 / step;
  }
  double y(double bytes) const { return bottom - kHigh * std::min(bytes, top) / top; }
};

// The area of one kind on top of those before it, as steps.
Area layer(const std::vector<TracedMemory>& course, std::size_t kind, Picoseconds end,
           const Scale& scale) {
  std::vector<Vertex> upper, lower;
  for (std::size_t i = 0; i < course.size(); ++i) {
    double below = 0;
    for (std::size_t k = 0; k < kind; ++k) below += course[i].bytes[k];
    const double until = scale.x(i + 1 < course.size() ? course[i + 1].time : end);
    const double low = scale.y(below), high = scale.y(below + course[i].bytes[kind]);
    for (const double x : {scale.x(course[i].time), until}) {
      upper.push_back({x, high});
      lower.push_back({x, low});
    }
  }
  upper.insert(upper.end(), lower.rbegin(), lower.rend());
  return {upper, page_colour(fmt::format("--m-{}", kMemoryKindNames[kind])),
          std::string(kMemoryKindNames[kind])};
}

void draw(Picture& picture, const Stage& stage, const Scale& scale, Picoseconds end) {
  const Pen pen{picture};
  const double right = scale.left + kWide - kLeft - kRight, top = scale.bottom - kHigh;
  const std::vector<double> bytes = round_ticks(0, scale.top, 5);
  const auto label = [](double value) { return value == 0 ? "0" : readable(value, "B"); };
  pen.axis_left(
      scale.left, right, bytes, [&](double value) { return scale.y(value); }, label);
  for (std::size_t kind = 0; kind < kMemoryKindNames.size(); ++kind) {
    const auto is_used = [&](const TracedMemory& memory) { return memory.bytes[kind] > 0; };
    if (std::any_of(stage.course.begin(), stage.course.end(), is_used))
      picture.add(layer(stage.course, kind, end, scale));
  }
  const std::vector<double> times = round_ticks(0, scale.step, 4);
  pen.axis_below(
      scale.bottom, scale.bottom, times,
      [&](double time) { return scale.x(std::llround(time * 1e12)); }, time_label(times));
  const double limit = scale.y(stage.capacity);
  picture.add(Polyline{
      {{scale.left, limit}, {right, limit}}, page_colour("--bad"), 1.5, {5, 3}, "capacity"});
  pen.text(scale.left, top - 8, fmt::format("stage {}", stage.stage));
  pen.text(right, top - 8, "peak " + readable(stage.peak, "B"), Anchor::End, "--soft");
}

}  // namespace

Picture memory_picture(const fs::path& folder) {
  const RunFiles run = run_files(folder);
  std::vector<Stage> stages = stages_of(folder, run, trace_file(folder / "trace.json"));
  const Picoseconds end = std::max<Picoseconds>(1, std::llround(run.step_time * 1e12));
  double top = 1;
  bool is_used[kMemoryKindNames.size()] = {};
  for (Stage& stage : stages) {
    stage.course = thinned(stage.course, end);
    top = std::max({top, stage.peak, stage.capacity});
    for (const TracedMemory& memory : stage.course) {
      top = std::max(top, memory.total());
      for (std::size_t kind = 0; kind < memory.bytes.size(); ++kind)
        is_used[kind] |= memory.bytes[kind] > 0;
    }
  }
  const int columns = int(std::min<std::size_t>(4, stages.size()));
  const int rows = (int(stages.size()) + columns - 1) / columns;
  constexpr double kMargin = 14, kNarrowest = 620;
  Picture picture{std::max(kNarrowest, columns * kWide + 2 * kMargin),
                  kHead + rows * (kAbove + kHigh + kBelow) + 10};
  Pen{picture}.title(kMargin, 24, fmt::format("{}: memory of a GPU over one step", job_name(run)));
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const int column = int(i) % columns, row = int(i) / columns;
    constexpr double kSpace = 1.03;
    const Scale scale{run.step_time, top * kSpace, column * kWide + kLeft,
                      kHead + row * (kAbove + kHigh + kBelow) + kAbove + kHigh};
    draw(picture, stages[i], scale, end);
  }
  std::vector<LegendItem> legend;
  for (std::size_t kind = 0; kind < kMemoryKindNames.size(); ++kind)
    if (is_used[kind])
      legend.push_back(legend_of({page_colour(fmt::format("--m-{}", kMemoryKindNames[kind]))},
                                 std::string(kMemoryKindNames[kind])));
  legend.push_back({"capacity", [](Picture& to, double x, double y) {
                      Pen{to}.line(x, y, x + 22, y, "--bad", 1.5, {5, 3});
                    }});
  add_legend(picture, kMargin, picture.height, legend);
  return picture;
}

}  // namespace windtunnel

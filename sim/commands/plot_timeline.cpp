// The timeline of one step: a row for each rank and stream, as report.html draws it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "commands/plot.hpp"
#include "commands/plot_look.hpp"
#include "commands/run_files.hpp"
#include "commands/trace_file.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

constexpr double kWidth = 1280, kGutter = 198, kRight = 12, kTop = 64;
constexpr double kComputeRow = 24, kStreamRow = 15, kGap = 4;
constexpr double kLabel = 10, kSmallestLabel = 8;
constexpr double kFoot = 5;      // of a compute span: what of it ran again and communicated
constexpr double kSingle = 1.5;  // from this width on an item is drawn by itself
constexpr std::size_t kColumns = std::size_t(kWidth - kGutter - kRight);

// A slice or a pause.
struct Item {
  TracedSlice slice;
  std::size_t category = 0;
  bool is_pause = false;
};

struct Row {
  std::string rank;  // of a compute stream
  std::string name;
  bool is_compute = false;
  double top = 0;
  std::vector<Item> items;
  double height() const { return is_compute ? kComputeRow : kStreamRow; }
};

Item item_of(const TraceFile& trace, const TracedSlice& slice, bool is_pause) {
  return {slice, category_of(trace.ops[std::size_t(slice.op)].category), is_pause};
}

// Waiting for one gradient bucket after another is one area.
void add_pause(std::vector<Item>& items, const Item& pause) {
  if (!items.empty() && items.back().category == pause.category &&
      items.back().slice.end >= pause.slice.start)
    items.back().slice.end = pause.slice.end;
  else
    items.push_back(pause);
}

std::vector<Row> rows_of(const TraceFile& trace, const TracedRank& rank) {
  std::vector<Row> rows;
  for (const TracedThread& thread : rank.threads) {
    Row row{.name = thread.name, .is_compute = thread.name == "compute"};
    for (const TracedSlice& slice : thread.slices)
      row.items.push_back(item_of(trace, slice, false));
    if (row.is_compute) {
      const std::string times = rank.represented > 1 ? fmt::format(" ×{}", rank.represented) : "";
      row.rank = fmt::format("stage {}  rank {}{}", rank.stage, rank.rank, times);
      std::vector<Item> pauses;
      for (const TracedSlice& pause : rank.idle) add_pause(pauses, item_of(trace, pause, true));
      row.items.insert(row.items.end(), pauses.begin(), pauses.end());
      std::stable_sort(row.items.begin(), row.items.end(),
                       [](const Item& a, const Item& b) { return a.slice.start < b.slice.start; });
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// All, or of many the first of each stage.
std::vector<const TracedRank*> ranks_to_show(const TraceFile& trace) {
  constexpr std::size_t kMostRanks = 12;
  std::set<int> stages;
  std::vector<const TracedRank*> shown;
  for (const TracedRank& rank : trace.ranks)
    if (stages.insert(rank.stage).second || trace.ranks.size() <= kMostRanks)
      shown.push_back(&rank);
  std::stable_sort(shown.begin(), shown.end(),
                   [](const TracedRank* a, const TracedRank* b) { return a->stage < b->stage; });
  return shown;
}

class Painter {
 public:
  Painter(Picture& picture, const TraceFile& trace, double step)
      : picture_(picture), trace_(trace), scale_((kWidth - kGutter - kRight) / step * 1e-12) {
    for (std::size_t i = 0; i < kCategories.size(); ++i) looks_.push_back(look_of(i));
  }
  void paint(const Row& row);
  const std::set<std::size_t>& used() const { return used_; }

 private:
  // Where many items share a pixel, its column is stacked by the time of each category.
  using Column = std::map<std::size_t, double>;
  void add_to_columns(std::map<std::size_t, Column>& columns, const Row& row, const Item& item);
  void paint_columns(const std::map<std::size_t, Column>& columns, const Row& row);
  void paint_item(const Row& row, const Item& item);
  void paint_label(const std::string& text, double left, double right, double middle,
                   const Colour& ink, bool is_on_hatch);
  double x(Picoseconds time) const { return kGutter + double(time) * scale_; }

  Picture& picture_;
  const TraceFile& trace_;
  double scale_;  // points per picosecond
  std::vector<Look> looks_;
  std::set<std::size_t> used_;
};

void Painter::add_to_columns(std::map<std::size_t, Column>& columns, const Row& row,
                             const Item& item) {
  const TracedSlice& slice = item.slice;
  const double begin = double(slice.start) * scale_, end = double(slice.end) * scale_;
  const auto last = std::min(kColumns - 1, std::size_t(std::max(0.0, end)));
  for (auto at = std::size_t(begin); at <= last; ++at) {
    double part = std::min(end, double(at + 1)) - std::max(begin, double(at));
    if (part <= 0) continue;
    Column& column = columns[at];
    if (row.is_compute && !item.is_pause) {
      const double all = double(slice.end - slice.start);
      const double communication = part * double(slice.communication) / all;
      const double recompute = part * double(slice.recompute) / all;
      if (communication > 0) column[category_of("tensor")] += communication;
      if (recompute > 0) column[category_of("recompute")] += recompute;
      part -= communication + recompute;
    }
    column[item.category] += part;
  }
}

Colour lightened(const Colour& colour, double part) {
  const auto mixed = [part](std::uint8_t value) {
    constexpr double kWhite = 255;
    return std::uint8_t(std::lround(kWhite + (value - kWhite) * part));
  };
  return {mixed(colour.red), mixed(colour.green), mixed(colour.blue)};
}

void Painter::paint_columns(const std::map<std::size_t, Column>& columns, const Row& row) {
  constexpr double kHatched = 0.42;  // as light as hatching looks
  constexpr double kLeastTransfer = 4;
  for (const auto& [at, column] : columns) {
    double bottom = row.top + row.height();
    for (const auto& [category, part] : column) {
      const Look& look = looks_[category];
      // A short transfer is still to be seen.
      const double least = row.is_compute ? 0 : kLeastTransfer;
      const double height = std::min(std::max(least, part * row.height()), bottom - row.top);
      const Colour fill =
          look.hatch == Hatch::None ? look.colour : lightened(look.colour, kHatched);
      picture_.add(
          Rectangle{kGutter + double(at), bottom - height, 1, height, fill, Hatch::None, "column"});
      bottom -= height;
      used_.insert(category);
    }
  }
}

void Painter::paint_label(const std::string& text, double left, double right, double middle,
                          const Colour& ink, bool is_on_hatch) {
  const double room = right - left - (is_on_hatch ? 6 : 1), centre = (left + right) / 2;
  double size = kLabel;
  while (size > kSmallestLabel && text_width(text, size) > room) --size;
  const double width = text_width(text, size);
  if (width > room) return;
  if (is_on_hatch)
    picture_.add(
        Rectangle{centre - width / 2 - 3, middle - 7, width + 6, 14, {255, 255, 255, 0.8}});
  picture_.add(Text{.x = centre,
                    .y = middle + size * 0.36,
                    .text = text,
                    .anchor = Anchor::Middle,
                    .size = size,
                    .colour = ink});
}

// Relative luminance, as WCAG 2 weighs the primaries, is enough to choose between black and white.
Colour ink_on(const Colour& colour) {
  constexpr double kLight = 125;
  const double light = 0.2126 * colour.red + 0.7152 * colour.green + 0.0722 * colour.blue;
  return light > kLight ? Colour{0, 0, 0} : Colour{255, 255, 255};
}

void Painter::paint_item(const Row& row, const Item& item) {
  const TracedSlice& slice = item.slice;
  const Look& look = looks_[item.category];
  const double left = x(slice.start), right = x(slice.end);
  const double seam = right - left > 5 ? 0.6 : 0;
  const std::string_view name = kCategories[item.category].name;
  used_.insert(item.category);
  picture_.add(Rectangle{left, row.top, right - left - seam, row.height(), look.colour, look.hatch,
                         std::string(kCategories[item.category].key)});
  if (item.is_pause) {
    constexpr std::string_view kBubble = "bubble: ";
    const std::string_view cause = name.starts_with(kBubble) ? name.substr(kBubble.size()) : name;
    return paint_label(std::string(cause), left, right, row.top + row.height() / 2,
                       page_colour("--ink"), true);
  }
  const double again = double(slice.recompute) * scale_;
  const double communication = double(slice.communication) * scale_;
  const double foot = row.top + row.height() - kFoot;
  const auto add_foot = [&](std::string_view key, double from, double width) {
    if (!row.is_compute || width <= 0) return;
    const std::size_t category = category_of(key);
    used_.insert(category);
    picture_.add(Rectangle{from, foot, width, kFoot, looks_[category].colour, Hatch::None, "foot"});
  };
  add_foot("recompute", left, again);
  add_foot("tensor", left + again, communication - seam);
  const double high = row.height() - (row.is_compute ? kFoot : 0);
  if (high > 12 && right - left > 14)
    paint_label(trace_.ops[std::size_t(slice.op)].name, left, right, row.top + high / 2,
                ink_on(look.colour), false);
}

void Painter::paint(const Row& row) {
  std::map<std::size_t, Column> columns;
  for (const Item& item : row.items) {
    if (double(item.slice.end - item.slice.start) * scale_ >= kSingle) continue;
    add_to_columns(columns, row, item);
  }
  paint_columns(columns, row);
  for (const Item& item : row.items)
    if (double(item.slice.end - item.slice.start) * scale_ >= kSingle) paint_item(row, item);
}

std::vector<Row> laid_out(const TraceFile& trace, const std::vector<const TracedRank*>& shown) {
  std::vector<Row> rows;
  double top = kTop;
  for (const TracedRank* rank : shown) {
    for (Row& row : rows_of(trace, *rank)) {
      row.top = top;
      top += row.height() + 1;
      rows.push_back(std::move(row));
    }
    top += kGap;
  }
  return rows;
}

void add_names(Picture& picture, const std::vector<Row>& rows) {
  const Pen pen{picture};
  for (const Row& row : rows) {
    const double middle = row.top + row.height() / 2 + 4;
    if (row.is_compute)
      pen.text(14, middle, row.rank);
    else
      pen.text(34, middle, row.name, Anchor::Start, "--soft");
  }
}

}  // namespace

Picture timeline_picture(const fs::path& folder) {
  const RunFiles run = run_files(folder);
  const TraceFile trace = trace_file(folder / "trace.json");
  // A measured trace may go on a little after its step.
  Picoseconds last = std::llround(run.step_time * 1e12);
  for (const TracedRank& rank : trace.ranks)
    for (const TracedThread& thread : rank.threads)
      for (const TracedSlice& slice : thread.slices) last = std::max(last, slice.end);
  const double step = std::max(1e-12, double(last) * 1e-12);
  const std::vector<const TracedRank*> shown = ranks_to_show(trace);
  const std::vector<Row> rows = laid_out(trace, shown);
  if (rows.empty()) refuse_file(folder / "trace.json", "no slices");
  const double bottom = rows.back().top + rows.back().height() + kGap;
  Picture picture{kWidth, bottom + 40};
  const Pen pen{picture};
  pen.title(14, 24, fmt::format("{}: one step of {}", job_name(run), time_text(run.step_time)));
  if (shown.size() < trace.ranks.size())
    pen.text(kWidth - kRight, 24,
             fmt::format("the first rank of each stage, {} of {} in the trace", shown.size(),
                         trace.ranks.size()),
             Anchor::End, "--soft");
  const std::vector<double> ticks = round_ticks(0, step, 10);
  const double scale = (kWidth - kGutter - kRight) / step;
  const auto label = time_label(ticks);
  for (const double tick : ticks) {
    const double at = kGutter + tick * scale;
    pen.line(at, kTop - 20, at, bottom, "--faint");
    if (at + 4 + text_width(label(tick), 11) < kWidth)
      pen.text(at + 4, kTop - 10, label(tick), Anchor::Start, "--soft");
  }
  pen.line(kGutter - 0.5, kTop - 4, kWidth - kRight, kTop - 4);
  add_names(picture, rows);
  Painter painter(picture, trace, step);
  for (const Row& row : rows) painter.paint(row);
  std::vector<LegendItem> legend;
  for (const std::size_t category : painter.used())
    legend.push_back(legend_of(look_of(category), std::string(kCategories[category].name)));
  add_legend(picture, 14, bottom + 18, legend);
  return picture;
}

}  // namespace windtunnel

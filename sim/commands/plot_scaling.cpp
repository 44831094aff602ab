// Speed-up and efficiency of a sweep over the number of GPUs, with the ideal, the knee and the
// cheapest point, as sweep.html draws them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "commands/plot.hpp"
#include "commands/plot_look.hpp"
#include "commands/run_files.hpp"
#include "commands/sweep_row.hpp"
#include "commands/sweep_table.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

constexpr double kWidth = 1100, kTop = 66, kHigh = 300, kLeft = 62, kPanel = 470, kApart = 544;
constexpr std::array<std::string_view, 7> kLineColours = {
    "--c-forward",    "--okabe-orange", "--okabe-green", "--okabe-vermillion",
    "--okabe-purple", "--okabe-sky",    "--okabe-yellow"};
const std::array<std::vector<double>, 4> kDashes = {{{}, {7, 3}, {2, 3}, {7, 3, 2, 3}}};

void check_numbers(const fs::path& path, const CsvRow& header, const std::vector<CsvRow>& rows) {
  for (const std::string& column : sweep_columns(header)) {
    const auto found = std::find(header.begin(), header.end(), column);
    if (found == header.end()) refuse_file(path, "no column '" + column + "'");
    if (column == "status" || column == "reason") continue;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (const std::string& field = rows[i][column_of(header, column)];
          !field.empty() && !number_in(field))
        refuse_file(path,
                    fmt::format("line {}: '{}' in column '{}' is no number", i + 2, field, column));
  }
}

// Of a sweep with at least two numbers of GPUs; series with one point are left out.
SweepPoints scaling_points(const fs::path& path) {
  std::vector<CsvRow> rows = csv_or_refuse(path);
  const CsvRow header = rows.front();
  rows.erase(rows.begin());
  check_numbers(path, header, rows);
  SweepPoints sweep = sweep_points(header, rows);
  if (!sweep.varies_gpus) refuse_file(path, "'gpus' is not varied, so there is no scaling to show");
  const auto is_single = [&](const SweepSeries& series) {
    return std::all_of(series.points.begin(), series.points.end(), [&](std::size_t i) {
      return sweep.points[i].gpus == sweep.points[series.points.front()].gpus;
    });
  };
  std::erase_if(sweep.series, is_single);
  if (sweep.series.empty())
    refuse_file(path, "fewer than two numbers of GPUs were simulated for the same case");
  constexpr double kMost = 1e9;
  for (const SweepPoint& point : sweep.points)
    if (point.speed_up && !(*point.speed_up<kMost&& * point.speed_up> 1 / kMost))
      refuse_file(path, "the throughputs are too far apart for one picture");
  return sweep;
}

// One of the two plots; both have the GPUs on a logarithmic axis.
struct Panel {
  double left = 0, low_gpus = 1, high_gpus = 2, low = 0, high = 1;
  bool is_logarithmic = false;
  double x(double gpus) const {
    constexpr double kInset = 16;
    return left + kInset +
           (kPanel - 2 * kInset) * std::log(gpus / low_gpus) / std::log(high_gpus / low_gpus);
  }
  double y(double value) const {
    const double part = is_logarithmic ? std::log(value / low) / std::log(high / low)
                                       : (value - low) / (high - low);
    return kTop + kHigh * (1 - part);
  }
};

std::vector<double> gpu_counts(const SweepPoints& sweep) {
  std::vector<double> counts;
  for (const SweepSeries& series : sweep.series)
    for (const std::size_t i : series.points) counts.push_back(*sweep.points[i].gpus);
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts;
}

// Those labels that have room.
std::vector<double> with_room(const std::vector<double>& counts, const Panel& panel) {
  std::vector<double> shown;
  for (const double count : counts)
    if (shown.empty() || panel.x(count) - panel.x(shown.back()) > 38) shown.push_back(count);
  return shown;
}

void add_frame(Picture& picture, const Panel& panel, const std::string& title,
               const std::vector<double>& counts, const std::vector<double>& values,
               const std::function<std::string(double)>& label) {
  const Pen pen{picture};
  const double bottom = kTop + kHigh, right = panel.left + kPanel;
  picture.add(Text{.x = panel.left,
                   .y = kTop - 12,
                   .text = title,
                   .is_bold = true,
                   .colour = page_colour("--ink")});
  pen.axis_left(
      panel.left, right, values, [&](double value) { return panel.y(value); }, label);
  pen.axis_below(
      bottom, bottom, with_room(counts, panel), [&](double count) { return panel.x(count); },
      [](double count) { return fmt::format("{}", count); });
  pen.line(panel.left, bottom, right, bottom);
  pen.text(right, bottom + 34, "GPUs", Anchor::End, "--soft");
}

// `what` is empty in a legend.
Polyline diamond(double x, double y, double size, const std::string& what) {
  return {{{x, y - 1.5 * size},
           {x + size, y},
           {x, y + 1.5 * size},
           {x - size, y},
           {x, y - 1.5 * size},
           {x + size, y}},
          page_colour("--good"),
          2,
          {},
          what};
}

Disc ring(double x, double y, double radius, const std::string& what) {
  return {{x, y}, radius, page_colour("--ink"), 1.8, what};
}

void add_lines(Picture& picture, const SweepPoints& sweep, const Panel& panel,
               Number SweepPoint::*value) {
  for (std::size_t i = 0; i < sweep.series.size(); ++i) {
    const Colour colour = page_colour(kLineColours[i % kLineColours.size()]);
    Polyline line{{}, colour, 1.8, kDashes[i / kLineColours.size() % kDashes.size()], "series"};
    std::vector<std::size_t> points = sweep.series[i].points;
    std::sort(points.begin(), points.end(), [&](std::size_t a, std::size_t b) {
      return *sweep.points[a].gpus < *sweep.points[b].gpus;
    });
    for (const std::size_t point : points)
      line.points.push_back(
          {panel.x(*sweep.points[point].gpus), panel.y(*(sweep.points[point].*value))});
    for (const Vertex& vertex : line.points) picture.add(Disc{vertex, 4, colour, 0, "point"});
    picture.add(line);
    const SweepPoint& knee = sweep.points[sweep.series[i].knee];
    picture.add(ring(panel.x(*knee.gpus), panel.y(*(knee.*value)), 8, "knee"));
    if (sweep.cheapest &&
        std::find(points.begin(), points.end(), *sweep.cheapest) != points.end()) {
      const SweepPoint& best = sweep.points[*sweep.cheapest];
      picture.add(diamond(panel.x(*best.gpus), panel.y(*(best.*value)), 8, "cheapest"));
    }
  }
}

void add_speed_up(Picture& picture, const SweepPoints& sweep, const std::vector<double>& counts) {
  Panel panel{.left = kLeft,
              .low_gpus = counts.front(),
              .high_gpus = counts.back(),
              .low = 1,
              .high = 1,
              .is_logarithmic = true};
  std::vector<Polyline> ideals;
  const auto each_ideal = [&](const auto& use) {
    for (const SweepSeries& series : sweep.series) {
      const double base = *sweep.points[series.points.front()].gpus;
      for (const std::size_t i : series.points)
        use(*sweep.points[i].gpus, *sweep.points[i].gpus / base, *sweep.points[i].speed_up);
    }
  };
  each_ideal([&](double, double ideal, double found) {
    panel.low = std::min({panel.low, ideal, found});
    panel.high = std::max({panel.high, ideal, found});
  });
  constexpr double kSpace = 1.1;
  panel.high *= kSpace;
  panel.low /= kSpace;
  std::vector<double> ticks;
  const int last = int(std::floor(std::log2(panel.high)));
  for (int power = int(std::ceil(std::log2(panel.low))); power <= last; ++power)
    ticks.push_back(std::exp2(power));
  constexpr std::size_t kMostTicks = 9;
  const std::size_t every = (ticks.size() + kMostTicks - 1) / kMostTicks;
  std::vector<double> shown;
  for (std::size_t i = 0; i < ticks.size(); i += every) shown.push_back(ticks[i]);
  add_frame(picture, panel, "speed-up", counts, shown,
            [](double value) { return fmt::format("{}", value); });
  for (const SweepSeries& series : sweep.series) {
    Polyline ideal{{}, page_colour("--soft"), 1.4, {6, 4}, "ideal"};
    const double base = *sweep.points[series.points.front()].gpus;
    std::vector<double> gpus;
    for (const std::size_t i : series.points) gpus.push_back(*sweep.points[i].gpus);
    std::sort(gpus.begin(), gpus.end());
    for (const double count : gpus) ideal.points.push_back({panel.x(count), panel.y(count / base)});
    picture.add(std::move(ideal));
  }
  add_lines(picture, sweep, panel, &SweepPoint::speed_up);
}

void add_efficiency(Picture& picture, const SweepPoints& sweep, const std::vector<double>& counts) {
  double high = 1;
  for (const SweepSeries& series : sweep.series)
    for (const std::size_t i : series.points) high = std::max(high, *sweep.points[i].efficiency);
  constexpr double kSpace = 1.08;
  const Panel panel{.left = kLeft + kApart,
                    .low_gpus = counts.front(),
                    .high_gpus = counts.back(),
                    .low = 0,
                    .high = high * kSpace};
  add_frame(picture, panel, "efficiency", counts, round_ticks(0, panel.high, 6),
            [](double value) { return fmt::format("{:.0f} %", 100 * value); });
  const double right = panel.left + kPanel;
  picture.add(Polyline{{{panel.left, panel.y(1)}, {right, panel.y(1)}},
                       page_colour("--soft"),
                       1.4,
                       {6, 4},
                       "ideal"});
  picture.add(Polyline{{{panel.left, panel.y(kKnee)}, {right, panel.y(kKnee)}},
                       page_colour("--bad"),
                       1.2,
                       {2, 3},
                       "threshold"});
  add_lines(picture, sweep, panel, &SweepPoint::efficiency);
}

std::vector<LegendItem> legend_of(const SweepPoints& sweep) {
  std::vector<LegendItem> items;
  for (std::size_t i = 0; i < sweep.series.size() && sweep.series.size() > 1; ++i)
    items.push_back({sweep.series[i].name, [i](Picture& to, double x, double y) {
                       const std::string_view colour = kLineColours[i % kLineColours.size()];
                       Pen{to}.line(x, y, x + 22, y, colour, 1.8,
                                    kDashes[i / kLineColours.size() % kDashes.size()]);
                       to.add(Disc{{x + 11, y}, 4, page_colour(colour)});
                     }});
  items.push_back({"ideal", [](Picture& to, double x, double y) {
                     Pen{to}.line(x, y, x + 22, y, "--soft", 1.4, {6, 4});
                   }});
  items.push_back({"efficiency of the knee", [](Picture& to, double x, double y) {
                     Pen{to}.line(x, y, x + 22, y, "--bad", 1.2, {2, 3});
                   }});
  items.push_back(
      {"knee", [](Picture& to, double x, double y) { to.add(ring(x + 11, y, 6, "")); }});
  items.push_back({fmt::format("cheapest per million {}{}", sweep.unit(),
                               sweep.has_price ? "" : ", in GPU time"),
                   [](Picture& to, double x, double y) { to.add(diamond(x + 11, y, 5, "")); }});
  return items;
}

}  // namespace

Picture scaling_picture(const fs::path& folder) {
  const SweepPoints sweep = scaling_points(folder / "sweep.csv");
  const std::vector<double> counts = gpu_counts(sweep);
  Picture picture{kWidth, kTop + kHigh + 50};
  std::string title(name_of(sweep.series.front().scaling));
  title[0] = 'S' + (title[0] - 's');
  Pen{picture}.title(14, 26, title);
  add_speed_up(picture, sweep, counts);
  add_efficiency(picture, sweep, counts);
  add_legend(picture, 14, kTop + kHigh + 62, legend_of(sweep));
  double y = picture.height + 18;
  for (const std::string& finding : sweep_table(sweep).findings) {
    Pen{picture}.text(14, y, finding);
    y += 18;
  }
  picture.height = y;
  return picture;
}

}  // namespace windtunnel

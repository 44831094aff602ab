#include "commands/validate_pictures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace windtunnel {
namespace {

constexpr double kPlot = 560, kLeft = 70, kTop = 40, kLegend = 260, kBottom = 60;

std::string line(double x1, double y1, double x2, double y2, std::string_view style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1,
                     x2, y2, style);
}

std::string label(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     text);
}

std::string opened(double width, double height, std::string_view title) {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
             "viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
             "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
             width, height) +
         label(kLeft, kTop - 16, "start", title);
}

// Hues that stay apart for neighbours.
std::string colour(std::size_t index) {
  constexpr int kGolden = 137, kCircle = 360;
  const int hue = int(index) * kGolden % kCircle;
  return fmt::format("hsl({},70%,{}%)", hue, index % 2 == 0 ? 40 : 55);
}

// Powers of ten that hold all the times.
struct Axis10 {
  int low = 0, high = 1;
  double at(double seconds) const { return (std::log10(seconds) - low) / (high - low) * kPlot; }
};

Axis10 axis_of(const Validation& validation) {
  double least = INFINITY, most = 0;
  for (const ValidatedRow& row : validation.rows) {
    if (!row.is_timed()) continue;
    least = std::min({least, row.pair().predicted, row.pair().published});
    most = std::max({most, row.pair().predicted, row.pair().published});
  }
  if (most <= 0) return {};
  const int low = int(std::floor(std::log10(least)));
  return {low, std::max(low + 1, int(std::ceil(std::log10(most))))};
}

}  // namespace

std::string scatter_svg(const Validation& validation) {
  const Axis10 axis = axis_of(validation);
  std::string svg = opened(kLeft + kPlot + kLegend, kTop + kPlot + kBottom,
                           "Predicted against published seconds per iteration");
  const auto x = [&](double seconds) { return kLeft + axis.at(seconds); };
  const auto y = [&](double seconds) { return kTop + kPlot - axis.at(seconds); };
  for (int power = axis.low; power <= axis.high; ++power) {
    const double tick = std::pow(10.0, power);
    svg += line(x(tick), kTop, x(tick), kTop + kPlot, "stroke=\"#ddd\"");
    svg += line(kLeft, y(tick), kLeft + kPlot, y(tick), "stroke=\"#ddd\"");
    svg += label(x(tick), kTop + kPlot + 18, "middle", fmt::format("{:g}", tick));
    svg += label(kLeft - 8, y(tick) + 4, "end", fmt::format("{:g}", tick));
  }
  svg += line(kLeft, kTop + kPlot, kLeft + kPlot, kTop, "stroke=\"black\"");
  svg += label(kLeft + kPlot / 2, kTop + kPlot + 42, "middle", "published, s");
  svg += fmt::format(
      "<text transform=\"translate(18,{:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\">predicted, s</text>\n",
      kTop + kPlot / 2);
  int shown = 0;
  for (std::size_t table = 0; table < validation.tables.size(); ++table) {
    std::string dots;
    for (const ValidatedRow& row : validation.rows)
      if (row.is_timed() && row.table == validation.tables[table])
        dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"/>\n",
                            x(row.pair().published), y(row.pair().predicted));
    if (dots.empty()) continue;
    const double at = kTop + 16.0 * shown++;
    svg += fmt::format("<g fill=\"{}\" fill-opacity=\"0.6\">\n{}", colour(table), dots);
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"/>\n", kLeft + kPlot + 20, at);
    svg += "</g>\n" + label(kLeft + kPlot + 32, at + 4, "start", validation.tables[table]);
  }
  return svg + "</svg>\n";
}

std::string histogram_svg(const Validation& validation) {
  // Bins of 5 %, and one more on each side for all that lies beyond.
  constexpr int kBins = 42;
  constexpr double kBin = 0.05, kFirst = -1.05, kHeight = 300;
  std::array<int, kBins> counts{};
  for (const ValidatedRow& row : validation.rows)
    if (row.is_timed())
      ++counts[std::size_t(
          std::clamp(int(std::floor((row.pair().error() - kFirst) / kBin)), 0, kBins - 1))];
  const int most = std::max(1, *std::max_element(counts.begin(), counts.end()));
  std::string svg = opened(kLeft + kPlot + 30, kTop + kHeight + kBottom,
                           "Rows by error (predicted / published - 1), bins of 5 %");
  const double width = kPlot / kBins;
  for (int bin = 0; bin < kBins; ++bin) {
    const double height = kHeight * counts[std::size_t(bin)] / most;
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
        "fill=\"steelblue\"><title>{}</title></rect>\n",
        kLeft + width * bin, kTop + kHeight - height, width - 1, height, counts[std::size_t(bin)]);
  }
  svg += line(kLeft, kTop + kHeight, kLeft + kPlot, kTop + kHeight, "stroke=\"black\"");
  for (int percent = -100; percent <= 100; percent += 50) {
    const double at = kLeft + width * (percent / 100.0 - kFirst) / kBin;
    svg += line(at, kTop + kHeight, at, kTop + kHeight + 5, "stroke=\"black\"");
    svg += label(at, kTop + kHeight + 20, "middle", fmt::format("{} %", percent));
  }
  svg += label(kLeft - 8, kTop + 10, "end", fmt::format("{}", most));
  svg += label(kLeft - 8, kTop + kHeight, "end", "0");
  return svg + "</svg>\n";
}

}  // namespace windtunnel

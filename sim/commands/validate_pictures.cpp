#include "commands/validate_pictures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "commands/plot_look.hpp"

namespace windtunnel {
namespace {

constexpr double kPlot = 560, kLeft = 70, kTop = 46, kLegend = 290, kBottom = 60;

// Hues that stay apart for neighbours, of HSL with a saturation of 70 %.
Colour hue_of(std::size_t index) {
  constexpr int kGolden = 137, kCircle = 360;
  constexpr double kSaturation = 0.7, kSextants = 6, kMost = 255, kOpacity = 0.6;
  const double lightness = index % 2 == 0 ? 0.4 : 0.55;
  const double chroma = kSaturation * std::min(lightness, 1 - lightness);
  const auto channel = [&](double shift) {
    const double at = std::fmod(double(int(index) * kGolden % kCircle) / 60 + shift, kSextants);
    const double part = std::clamp(std::min(2 * at - 3, 9 - 2 * at), -1.0, 1.0);
    return std::uint8_t(std::lround(kMost * (lightness - chroma * part)));
  };
  return {channel(0), channel(4), channel(2), kOpacity};
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

Picture scatter_picture(const Validation& validation) {
  const Axis10 axis = axis_of(validation);
  Picture picture{kLeft + kPlot + kLegend, kTop + kPlot + kBottom};
  const Pen pen{picture};
  pen.title(14, 24, "Predicted against published seconds per iteration");
  const auto x = [&](double seconds) { return kLeft + axis.at(seconds); };
  const auto y = [&](double seconds) { return kTop + kPlot - axis.at(seconds); };
  const auto label = [](double seconds) { return fmt::format("{:g}", seconds); };
  std::vector<double> ticks;
  for (int power = axis.low; power <= axis.high; ++power) ticks.push_back(std::pow(10.0, power));
  pen.axis_below(kTop + kPlot, kTop, ticks, x, label);
  pen.axis_left(kLeft, kLeft + kPlot, ticks, y, label);
  pen.line(kLeft, kTop + kPlot, kLeft + kPlot, kTop, "--ink");
  pen.text(kLeft + kPlot / 2, kTop + kPlot + 42, "published, s", Anchor::Middle);
  picture.add(Text{.x = 18,
                   .y = kTop + kPlot / 2,
                   .text = "predicted, s",
                   .anchor = Anchor::Middle,
                   .is_upwards = true,
                   .colour = page_colour("--ink")});
  int shown = 0;
  for (std::size_t table = 0; table < validation.tables.size(); ++table) {
    const Colour colour = hue_of(table);
    bool is_seen = false;
    for (const ValidatedRow& row : validation.rows) {
      if (!row.is_timed() || row.table != validation.tables[table]) continue;
      picture.add(Disc{{x(row.pair().published), y(row.pair().predicted)}, 2.5, colour, 0, "row"});
      is_seen = true;
    }
    if (!is_seen) continue;
    const double at = kTop + 18.0 * shown++;
    picture.add(Disc{{kLeft + kPlot + 20, at}, 5, colour});
    pen.text(kLeft + kPlot + 32, at + 4, validation.tables[table]);
  }
  return picture;
}

Picture histogram_picture(const Validation& validation) {
  // Bins of 5 %, and one more on each side for all that lies beyond.
  constexpr int kBins = 42;
  constexpr double kBin = 0.05, kFirst = -1.05, kHeight = 300;
  std::array<int, kBins> counts{};
  for (const ValidatedRow& row : validation.rows)
    if (row.is_timed())
      ++counts[std::size_t(
          std::clamp(int(std::floor((row.pair().error() - kFirst) / kBin)), 0, kBins - 1))];
  const int most = std::max(1, *std::max_element(counts.begin(), counts.end()));
  Picture picture{kLeft + kPlot + 30, kTop + kHeight + kBottom};
  const Pen pen{picture};
  pen.title(14, 24, "Rows by error (predicted / published - 1), bins of 5 %");
  const double width = kPlot / kBins, bottom = kTop + kHeight;
  pen.axis_left(
      kLeft, kLeft + kPlot, round_ticks(0, most, 5),
      [&](double count) { return bottom - kHeight * count / most; },
      [](double count) { return fmt::format("{:g}", count); });
  for (int bin = 0; bin < kBins; ++bin) {
    const double height = kHeight * counts[std::size_t(bin)] / most;
    picture.add(Rectangle{kLeft + width * bin, bottom - height, width - 1, height,
                          page_colour("--okabe-blue"), Hatch::None, "bin"});
  }
  pen.axis_below(
      bottom, bottom, {-1, -0.5, 0, 0.5, 1},
      [&](double error) { return kLeft + width * (error - kFirst) / kBin; },
      [](double error) { return fmt::format("{:g} %", 100 * error); });
  pen.line(kLeft, bottom, kLeft + kPlot, bottom, "--ink");
  return picture;
}

}  // namespace windtunnel

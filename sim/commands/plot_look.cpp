#include "commands/plot_look.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/check.hpp"
#include "report/format.hpp"
#include "report/page_files.hpp"

namespace windtunnel {
namespace {

constexpr double kLetters = 11, kTitle = 15;

// The value of a property where page.css first sets it, which is the light theme.
std::string_view property_value(std::string_view property) {
  const std::string_view css = page_file("page.css");
  const std::string mark = fmt::format("  {}: ", property);
  const std::size_t at = css.find(mark);
  SIM_CHECK(at != std::string_view::npos, "page.css has no " + std::string(property));
  const std::size_t from = at + mark.size();
  return css.substr(from, css.find(';', from) - from);
}

}  // namespace

Colour page_colour(std::string_view property) {
  std::string_view value = property_value(property);
  constexpr std::string_view kReference = "var(";
  while (value.starts_with(kReference))
    value = property_value(value.substr(kReference.size(), value.size() - kReference.size() - 1));
  constexpr int kHexadecimal = 16, kBits = 8;
  SIM_CHECK(value.size() == 7 && value[0] == '#', "no colour: " + std::string(value));
  const long rgb = std::strtol(std::string(value.substr(1)).c_str(), nullptr, kHexadecimal);
  return {std::uint8_t(rgb >> (2 * kBits)), std::uint8_t(rgb >> kBits), std::uint8_t(rgb)};
}

std::size_t category_of(std::string_view key) {
  const auto found = std::find_if(kCategories.begin(), kCategories.end(),
                                  [key](const CategoryName& each) { return each.key == key; });
  return found == kCategories.end() ? kCategories.size() - 1
                                    : std::size_t(found - kCategories.begin());
}

// As in theme.js: bubbles rise, waiting for transfers falls.
Look look_of(std::size_t category) {
  const CategoryName& name = kCategories[category];
  const Colour colour = page_colour(fmt::format("--{}-{}", name.is_idle ? 'i' : 'c', name.key));
  if (!name.is_idle) return {colour};
  const bool falls = name.key.ends_with("communication") || name.key == "pipeline_transfer";
  return {colour, falls ? Hatch::Falling : Hatch::Rising};
}

void Pen::text(double x, double y, const std::string& text, Anchor anchor,
               std::string_view colour) const {
  picture.add(Text{.x = x,
                   .y = y,
                   .text = text,
                   .anchor = anchor,
                   .size = kLetters,
                   .colour = page_colour(colour)});
}

void Pen::title(double x, double y, const std::string& text) const {
  picture.add(Text{.x = x,
                   .y = y,
                   .text = text,
                   .size = kTitle,
                   .is_bold = true,
                   .colour = page_colour("--ink")});
}

void Pen::line(double x1, double y1, double x2, double y2, std::string_view colour, double width,
               std::vector<double> dashes) const {
  picture.add(Polyline{{{x1, y1}, {x2, y2}}, page_colour(colour), width, std::move(dashes)});
}

void Pen::axis_below(double y, double far, const std::vector<double>& ticks,
                     const std::function<double(double)>& place,
                     const std::function<std::string(double)>& label) const {
  constexpr double kTick = 5, kDown = 17;
  for (const double tick : ticks) {
    const double x = place(tick);
    if (far != y) line(x, y, x, far, "--faint");
    line(x, y, x, y + kTick);
    text(x, y + kDown, label(tick), Anchor::Middle, "--soft");
  }
}

void Pen::axis_left(double x, double far, const std::vector<double>& ticks,
                    const std::function<double(double)>& place,
                    const std::function<std::string(double)>& label) const {
  constexpr double kTick = 5, kAside = 9, kDown = 4;
  for (const double tick : ticks) {
    const double y = place(tick);
    if (far != x) line(x, y, far, y, "--faint");
    line(x - kTick, y, x, y);
    text(x - kAside, y + kDown, label(tick), Anchor::End, "--soft");
  }
}

LegendItem legend_of(const Look& look, const std::string& name) {
  return {name, [look](Picture& picture, double x, double y) {
            picture.add(Rectangle{x, y - 6, 22, 12, look.colour, look.hatch});
          }};
}

void add_legend(Picture& picture, double x, double y, const std::vector<LegendItem>& items) {
  constexpr double kSymbol = 28, kGap = 16, kLine = 20, kMargin = 14;
  double at = x;
  for (const LegendItem& item : items) {
    const double width = kSymbol + text_width(item.name, kLetters);
    if (at > x && at + width > picture.width - kMargin) {
      at = x;
      y += kLine;
    }
    item.symbol(picture, at, y);
    Pen{picture}.text(at + kSymbol, y + 4, item.name, Anchor::Start, "--soft");
    at += width + kGap;
  }
  picture.height = std::max(picture.height, y + kMargin);
}

std::vector<double> round_ticks(double low, double high, int count) {
  if (!(high > low)) return {low};
  const double rough = (high - low) / std::max(1, count);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  constexpr std::array<double, 4> kRound = {1, 2, 5, 10};
  const double step = power * *std::find_if(kRound.begin(), kRound.end() - 1, [&](double round) {
                        return round * power >= rough * 0.999;
                      });
  std::vector<double> ticks;
  constexpr double kRounding = 1e-9;
  for (double i = std::ceil(low / step - kRounding); i * step <= high * (1 + kRounding); ++i)
    ticks.push_back(i * step + 0.0);  // no -0
  return ticks;
}

std::function<std::string(double)> time_label(const std::vector<double>& ticks) {
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : 1;
  const auto [factor, unit] = step < 1e-4  ? std::pair(1e6, "µs")
                              : step < 0.1 ? std::pair(1e3, "ms")
                                           : std::pair(1.0, "s");
  constexpr int kMost = 6;
  const int places = std::clamp(int(std::ceil(-std::log10(step * factor) - 1e-9)), 0, kMost);
  return [factor = factor, unit = unit, places](double seconds) {
    return seconds == 0 ? std::string("0")
                        : fmt::format("{:.{}f} {}", seconds * factor, places, unit);
  };
}

std::string time_text(double seconds) {
  std::string text = readable_time(Seconds(seconds));
  if (text.ends_with(" us")) text.replace(text.size() - 2, 1, "µ");
  return text;
}

}  // namespace windtunnel

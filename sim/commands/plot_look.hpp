// How pictures look: the colours, names and axes of report.html, in its light theme.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "pictures/picture.hpp"

namespace windtunnel {

// Of a custom property of page.css: "--ink", "--okabe-blue".
Colour page_colour(std::string_view property);

struct Look {
  Colour colour;
  Hatch hatch = Hatch::None;
};

// What occupies a stream, or why it idles, as keys of trace.json and report.json and as the page
// names them (theme.js), in the order of legends and of stacks.
struct CategoryName {
  std::string_view key, name;
  bool is_idle = false;
};
inline constexpr std::array<CategoryName, 24> kCategories = {{
    {"forward", "forward"},
    {"backward", "backward"},
    {"input_gradient", "input gradient"},
    {"weight_gradient", "weight gradient"},
    {"recompute", "recompute"},
    {"optimizer", "optimizer"},
    {"kernels", "kernel of a recording"},
    {"tensor", "tensor-parallel collective inside compute"},
    {"all_reduce", "all-reduce"},
    {"reduce_scatter", "reduce-scatter"},
    {"all_gather", "all-gather"},
    {"all_to_all", "all-to-all"},
    {"broadcast", "broadcast"},
    {"activation", "activation transfer"},
    {"gradient", "gradient transfer"},
    {"message", "message of a recording"},
    {"pipeline_transfer", "waits for a message on its way", true},
    {"data_communication", "waits for a data-parallel collective", true},
    {"other_communication", "waits for another collective", true},
    {"late_sender", "bubble: another stage has not sent yet", true},
    {"late_member", "bubble: a straggler has not joined", true},
    {"warm_up", "bubble: warm-up", true},
    {"drain", "bubble: drain", true},
    {"unknown", "idle, cause not recorded", true},
}};
// Index into kCategories; of "unknown" for a key that is none.
std::size_t category_of(std::string_view key);
Look look_of(std::size_t category);

// The letters of a drawing.
struct Pen {
  Picture& picture;
  void text(double x, double y, const std::string& text, Anchor anchor = Anchor::Start,
            std::string_view colour = "--ink") const;
  void title(double x, double y, const std::string& text) const;  // bold and larger
  void line(double x1, double y1, double x2, double y2, std::string_view colour = "--line",
            double width = 1, std::vector<double> dashes = {}) const;
  // A tick and its label at each value, and a light line across where `far` is another place.
  void axis_below(double y, double far, const std::vector<double>& ticks,
                  const std::function<double(double)>& place,
                  const std::function<std::string(double)>& label) const;
  void axis_left(double x, double far, const std::vector<double>& ticks,
                 const std::function<double(double)>& place,
                 const std::function<std::string(double)>& label) const;
};

// Items side by side, in as many lines as they need; makes the picture high enough for them.
struct LegendItem {
  std::string name;
  std::function<void(Picture&, double x, double y)> symbol;  // 22 wide around the middle y
};
LegendItem legend_of(const Look& look, const std::string& name);
void add_legend(Picture& picture, double x, double y, const std::vector<LegendItem>& items);

// About `count` round values from `low` to `high`.
std::vector<double> round_ticks(double low, double high, int count);
// Seconds with as many digits as tell ticks apart.
std::function<std::string(double)> time_label(const std::vector<double>& ticks);
// "174.6 ms" with the page's µ.
std::string time_text(double seconds);

}  // namespace windtunnel

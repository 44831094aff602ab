// The only file that knows cairo (cairographics.org).
#include <cairo-svg.h>
#include <cairo.h>

#include <cmath>
#include <memory>
#include <type_traits>

#include "base/check.hpp"
#include "pictures/picture.hpp"

namespace windtunnel {
namespace {

constexpr double kPngScale = 2;

struct Destroy {
  void operator()(cairo_t* context) const { cairo_destroy(context); }
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
};
using Surface = std::unique_ptr<cairo_surface_t, Destroy>;
using Context = std::unique_ptr<cairo_t, Destroy>;

cairo_status_t append(void* text, const unsigned char* data, unsigned size) {
  static_cast<std::string*>(text)->append(reinterpret_cast<const char*>(data), size);
  return CAIRO_STATUS_SUCCESS;
}

// Cairo draws nothing of a text with a byte that is not UTF-8; a mark takes its place.
std::string valid_utf8(std::string_view text) {
  std::string valid;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t size = byte < 0x80 ? 1 : byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    std::size_t rest = 1;
    while (rest < size && i + rest < text.size() && (text[i + rest] & 0xC0) == 0x80) ++rest;
    const bool is_whole = rest == size && (byte < 0x80 || (byte >= 0xC2 && byte <= 0xF4));
    const std::string letter(text.substr(i, rest));
    // Surrogates and what is beyond Unicode are no letters either.
    const bool is_letter = is_whole && letter < "\xF4\x90" &&
                           !(letter >= "\xED\xA0" && letter < "\xEE") &&
                           !(letter >= "\xE0\x80" && letter < "\xE0\xA0") &&
                           !(letter >= "\xF0\x80" && letter < "\xF0\x90");
    valid += is_letter && byte >= 0x20 && byte != 0x7F ? letter : std::string("\xEF\xBF\xBD");
    i += rest;
  }
  return valid;
}

void choose_font(cairo_t* c, double size, bool is_bold) {
  cairo_select_font_face(c, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                         is_bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(c, size);
}

// Letters as the font draws them, whatever the desktop prefers.
void start(cairo_t* c) {
  cairo_font_options_t* options = cairo_font_options_create();
  cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
  cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
  cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
  cairo_set_font_options(c, options);
  cairo_font_options_destroy(options);
}

void choose_colour(cairo_t* c, const Colour& colour, double opacity = 1) {
  constexpr double kMost = 255;
  cairo_set_source_rgba(c, colour.red / kMost, colour.green / kMost, colour.blue / kMost,
                        colour.opacity * opacity);
}

void trace(cairo_t* c, const std::vector<Vertex>& points) {
  cairo_new_path(c);
  for (const Vertex& point : points) cairo_line_to(c, point.x, point.y);
}

// As the page draws it (theme.js): lines 8 apart, 1.6 wide, over a tint of 22 %.
void draw_hatch(cairo_t* c, const Rectangle& shape) {
  constexpr double kApart = 8, kWidth = 1.6;
  cairo_save(c);
  cairo_rectangle(c, shape.x, shape.y, shape.width, shape.height);
  cairo_clip(c);
  cairo_new_path(c);
  // The lines of neighbours go on in one another.
  const double high = shape.height;
  const int first = int(std::floor((shape.x - high) / kApart));
  const int end = int(std::ceil((shape.x + shape.width) / kApart));
  for (int line = first; line < end; ++line) {
    const double at = line * kApart;
    cairo_move_to(c, at, shape.hatch == Hatch::Rising ? shape.y + high : shape.y);
    cairo_line_to(c, at + high, shape.hatch == Hatch::Rising ? shape.y : shape.y + high);
  }
  cairo_set_line_width(c, kWidth);
  choose_colour(c, shape.fill);
  cairo_stroke(c);
  cairo_restore(c);
}

void draw(cairo_t* c, const Rectangle& shape) {
  constexpr double kTint = 0.22;
  cairo_rectangle(c, shape.x, shape.y, shape.width, shape.height);
  choose_colour(c, shape.fill, shape.hatch == Hatch::None ? 1 : kTint);
  cairo_fill(c);
  if (shape.hatch != Hatch::None) draw_hatch(c, shape);
}

void draw(cairo_t* c, const Polyline& shape) {
  trace(c, shape.points);
  cairo_set_dash(c, shape.dashes.data(), int(shape.dashes.size()), 0);
  cairo_set_line_width(c, shape.width);
  cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
  choose_colour(c, shape.colour);
  cairo_stroke(c);
  cairo_set_dash(c, nullptr, 0, 0);
}

void draw(cairo_t* c, const Area& shape) {
  trace(c, shape.points);
  cairo_close_path(c);
  choose_colour(c, shape.fill);
  cairo_fill(c);
}

void draw(cairo_t* c, const Disc& shape) {
  constexpr double kWhole = 6.283185307179586;
  cairo_new_path(c);
  cairo_arc(c, shape.centre.x, shape.centre.y, shape.radius, 0, kWhole);
  choose_colour(c, shape.colour);
  if (shape.ring <= 0) return cairo_fill(c);
  cairo_set_line_width(c, shape.ring);
  cairo_stroke(c);
}

double advance(cairo_t* c, const std::string& text, double size, bool is_bold) {
  choose_font(c, size, is_bold);
  cairo_text_extents_t extents{};
  cairo_text_extents(c, text.c_str(), &extents);
  return extents.x_advance;
}

void draw(cairo_t* c, const Text& shape) {
  const std::string text = valid_utf8(shape.text);
  const double width = advance(c, text, shape.size, shape.is_bold);
  const double back = shape.anchor == Anchor::Start ? 0 : shape.anchor == Anchor::End ? 1 : 0.5;
  cairo_save(c);
  cairo_translate(c, shape.x, shape.y);
  constexpr double kQuarter = 1.5707963267948966;
  if (shape.is_upwards) cairo_rotate(c, -kQuarter);
  cairo_move_to(c, -back * width, 0);
  choose_colour(c, shape.colour);
  cairo_show_text(c, text.c_str());
  cairo_restore(c);
}

void draw_all(cairo_surface_t* surface, const Picture& picture, double scale) {
  const Context context(cairo_create(surface));
  cairo_t* c = context.get();
  start(c);
  cairo_scale(c, scale, scale);
  choose_colour(c, {255, 255, 255});
  cairo_paint(c);
  for (const Shape& shape : picture.shapes)
    std::visit([c](const auto& each) { draw(c, each); }, shape);
  SIM_CHECK(cairo_status(c) == CAIRO_STATUS_SUCCESS, cairo_status_to_string(cairo_status(c)));
}

}  // namespace

double text_width(std::string_view text, double size, bool is_bold) {
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1));
  const Context context(cairo_create(surface.get()));
  start(context.get());
  return advance(context.get(), valid_utf8(text), size, is_bold);
}

std::string svg(const Picture& picture) {
  std::string out;
  {
    const Surface surface(
        cairo_svg_surface_create_for_stream(append, &out, picture.width, picture.height));
    draw_all(surface.get(), picture, 1);
    cairo_surface_finish(surface.get());
    SIM_CHECK(cairo_surface_status(surface.get()) == CAIRO_STATUS_SUCCESS, "cannot make an SVG");
  }
  // Cairo numbers all surfaces of the process.
  const std::string_view mark = "<g id=\"surface";
  const std::size_t number = out.find(mark) + mark.size();
  if (number >= mark.size()) out.erase(number, out.find('"', number) - number);
  return out;
}

std::string png(const Picture& picture) {
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24,
                                                   int(std::ceil(picture.width * kPngScale)),
                                                   int(std::ceil(picture.height * kPngScale))));
  draw_all(surface.get(), picture, kPngScale);
  std::string out;
  SIM_CHECK(cairo_surface_write_to_png_stream(surface.get(), append, &out) == CAIRO_STATUS_SUCCESS,
            "cannot make a PNG");
  return out;
}

}  // namespace windtunnel

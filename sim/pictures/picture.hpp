// A drawing as a list of shapes, and that drawing as SVG or PNG.
//
// Lengths are in points of SVG's user space, y grows downwards, angles are multiples of 90 degrees.
// A Picture knows nothing of what it shows. The same Picture gives the same bytes, whatever was
// drawn before it; letters come from the font DejaVu Sans, or from what fontconfig has in its
// place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace windtunnel {

struct Colour {
  std::uint8_t red = 0, green = 0, blue = 0;
  double opacity = 1;
  bool operator==(const Colour&) const = default;
};

// Lines across a rectangle, over a light tint of their own colour.
enum class Hatch { None, Rising, Falling };

struct Rectangle {
  double x = 0, y = 0, width = 0, height = 0;
  Colour fill;
  Hatch hatch = Hatch::None;
  std::string what{};  // what it stands for; not drawn
};
struct Vertex {
  double x = 0, y = 0;
};
struct Polyline {
  std::vector<Vertex> points;
  Colour colour;
  double width = 1;
  std::vector<double> dashes{};
  std::string what{};
};
struct Area {
  std::vector<Vertex> points;  // a closed outline
  Colour fill;
  std::string what{};
};
struct Disc {
  Vertex centre;
  double radius = 3;
  Colour colour;
  double ring = 0;  // width of a ring; 0: filled
  std::string what{};
};
enum class Anchor { Start, Middle, End };
struct Text {
  double x = 0, y = 0;  // of the base line
  std::string text;
  Anchor anchor = Anchor::Start;
  double size = 11;
  bool is_bold = false;
  bool is_upwards = false;
  Colour colour{};
};
using Shape = std::variant<Rectangle, Polyline, Area, Disc, Text>;

struct Picture {
  double width = 0, height = 0;
  std::vector<Shape> shapes{};  // later ones cover earlier ones
  void add(Shape shape);
};

// How wide the letters of a text are.
double text_width(std::string_view text, double size, bool is_bold = false);

std::string svg(const Picture& picture);
// With two pixels a point, so that it is sharp on paper and on a projector.
std::string png(const Picture& picture);

}  // namespace windtunnel

// A Picture as SVG and PNG.
#include "catch.hpp"
#include "pictures/picture.hpp"

using namespace windtunnel;

namespace {

Picture example() {
  Picture picture{120, 60};
  picture.add(Rectangle{10, 10, 40, 20, {0, 114, 178}});
  picture.add(Rectangle{60, 10, 40, 20, {230, 159, 0}, Hatch::Rising});
  picture.add(Polyline{{{0, 0}, {120, 60}}, {0, 0, 0}, 1, {4, 2}});
  picture.add(Area{{{0, 60}, {20, 40}, {40, 60}}, {0, 158, 115}});
  picture.add(Disc{{100, 50}, 4, {213, 94, 0}, 1.5});
  picture.add(Text{.x = 60, .y = 50, .text = "F0", .anchor = Anchor::Middle});
  return picture;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++found;
  return found;
}

}  // namespace

TEST_CASE("pictures: bytes do not depend on what was drawn before") {
  const std::string first = svg(example()), pixels = png(example());
  CHECK(svg(example()) == first);
  CHECK(png(example()) == pixels);
  CHECK(pixels.rfind("\x89PNG", 0) == 0);
  // Width and height are the first numbers of a PNG: two pixels a point.
  CHECK(int(static_cast<unsigned char>(pixels[19])) == 240);
  CHECK(int(static_cast<unsigned char>(pixels[23])) == 120);
}

TEST_CASE("pictures: an SVG has a shape of each") {
  const std::string text = svg(example());
  CHECK(text.find("width=\"120pt\" height=\"60pt\"") != std::string::npos);
  CHECK(count(text, "stroke-dasharray") == 1);
  CHECK(count(text, "<use ") == 2);  // letters
  CHECK(count(text, "rgb(0%,44.705882%,69.803922%)") == 1);
  CHECK(count(text, "rgb(90.196078%,62.352941%,0%)") == 2);  // the tint and its lines
}

TEST_CASE("pictures: any bytes make letters") {
  CHECK(text_width("mm", 10) == Approx(2 * text_width("m", 10)));
  CHECK(text_width("m", 20) == Approx(2 * text_width("m", 10)));
  // What is no UTF-8, or no letter, is a mark each.
  const double mark = text_width("\xEF\xBF\xBD", 10);
  for (const char* text :
       {"\xff", "\xc0", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\n"})
    CHECK(text_width(text, 10) == Approx(mark));
  Picture picture{100, 20};
  picture.add(Text{.x = 1, .y = 10, .text = "</svg><script>\xff\x01"});
  CHECK(svg(picture).find("script") == std::string::npos);
  CHECK(png(picture).size() > 100);
}

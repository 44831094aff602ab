#include "report/page.hpp"

#include "base/check.hpp"
#include "report/page_files.hpp"

namespace windtunnel {

void write_page(std::string_view name, std::span<const std::string_view> scripts,
                const std::function<void(const PageSink&)>& write_data, const PageSink& sink) {
  std::string_view rest = page_file(name);
  const auto copy_to = [&](std::string_view mark) {
    const std::size_t at = rest.find(mark);
    SIM_CHECK(at != std::string_view::npos, std::string(name) + " has no " + std::string(mark));
    sink(rest.substr(0, at));
    rest.remove_prefix(at + mark.size());
  };
  copy_to("@LICENSE@");
  sink(page_file("d3-license.txt"));
  copy_to("@STYLE@");
  sink(page_file("page.css"));
  copy_to("@DATA@");
  write_data(sink);
  copy_to("@D3@");
  sink(page_file("d3.min.js"));
  copy_to("@SCRIPTS@");
  for (const std::string_view script : scripts) {
    sink(page_file(script));
    sink("\n");
  }
  sink(rest);
}

std::string without_markup(std::string_view json) {
  std::string safe;
  for (const char c : json)
    if (c == '<')
      safe += "\\u003c";
    else
      safe += c;
  return safe;
}

}  // namespace windtunnel

#include "report/html.hpp"

#include <array>

#include "base/check.hpp"
#include "report/page_data.hpp"
#include "report/page_files.hpp"

namespace windtunnel {

namespace {

using Sink = std::function<void(std::string_view)>;

// In the order in which they use one another; report.js starts the page.
constexpr std::array<std::string_view, 8> kScripts = {"format.js",   "theme.js",  "trace.js",
                                                      "timeline.js", "charts.js", "network.js",
                                                      "cluster.js",  "report.js"};

void write_scripts(const Sink& sink) {
  for (const std::string_view name : kScripts) {
    sink(page_file(name));
    sink("\n");
  }
}

}  // namespace

// report.html says @NAME@ on a line of its own where something goes in.
void write_html(const Job& job, const Plan& plan, const Trace& trace, const Report& report,
                const Sink& sink) {
  std::string_view rest = page_file("report.html");
  const auto copy_to = [&](std::string_view mark) {
    const std::size_t at = rest.find(mark);
    SIM_CHECK(at != std::string_view::npos, "report.html has no " + std::string(mark));
    sink(rest.substr(0, at));
    rest.remove_prefix(at + mark.size());
  };
  copy_to("@LICENSE@");
  sink(page_file("d3-license.txt"));
  copy_to("@STYLE@");
  sink(page_file("report.css"));
  copy_to("@DATA@");
  write_page_data(job, plan, trace, report, sink);
  copy_to("@D3@");
  sink(page_file("d3.min.js"));
  copy_to("@SCRIPTS@");
  write_scripts(sink);
  sink(rest);
}

std::string html(const Job& job, const Plan& plan, const Trace& trace, const Report& report) {
  std::string page;
  write_html(job, plan, trace, report, [&page](std::string_view piece) { page += piece; });
  return page;
}

}  // namespace windtunnel

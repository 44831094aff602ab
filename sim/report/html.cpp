#include "report/html.hpp"

#include <array>

#include "report/page.hpp"
#include "report/page_data.hpp"

namespace windtunnel {

namespace {

// report.js starts the page.
constexpr std::array<std::string_view, 8> kScripts = {"format.js",   "theme.js",  "trace.js",
                                                      "timeline.js", "charts.js", "network.js",
                                                      "cluster.js",  "report.js"};

}  // namespace

void write_html(const Job& job, const Plan& plan, const Trace& trace, const Report& report,
                const PageSink& sink) {
  const auto data = [&](const PageSink& out) { write_page_data(job, plan, trace, report, out); };
  write_page("report.html", kScripts, data, sink);
}

std::string html(const Job& job, const Plan& plan, const Trace& trace, const Report& report) {
  std::string page;
  write_html(job, plan, trace, report, [&page](std::string_view piece) { page += piece; });
  return page;
}

}  // namespace windtunnel

#include "commands/sweep_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "report/page_files.hpp"

namespace windtunnel {
namespace {

// Beside the style of report.html; wide tables scroll.
constexpr std::string_view kStyle =
    "h1 { margin-bottom: 16px; }\nsection { overflow-x: auto; }\nsection p { margin: 4px 0; }\n"
    ".meter { width: 64px; }\n.share { display: inline-block; min-width: 7ch; }\n";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string cell(const std::string& text) {
  const bool is_share = text.ends_with(" %");
  const double share = is_share ? std::clamp(std::strtod(text.c_str(), nullptr), 0.0, 100.0) : 0;
  const std::string meter =
      is_share ? fmt::format(
                     "<span class=\"meter\"><span style=\"width:{:.1f}%;background:"
                     "var(--accent)\"></span></span>",
                     share)
               : "";
  const std::string_view kind = is_share ? " class=\"share\"" : "";
  return fmt::format("<td class=\"number\">{}<span{}>{}</span></td>", meter, kind, escaped(text));
}

std::string section(const std::string& title, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string out = fmt::format("<section><h2>{}</h2>\n", title);
  for (const std::string& line : lines) out += fmt::format("<p>{}</p>\n", escaped(line));
  return out + "</section>\n";
}

}  // namespace

std::string sweep_page(const std::string& title, const SweepTable& table) {
  // The style of report.html has its dark colours under data-theme.
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src "
      "'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>{0}</title>\n<style>\n{1}{2}</style>\n"
      "<script>if (matchMedia('(prefers-color-scheme: dark)').matches) "
      "document.documentElement.dataset.theme = 'dark';</script>\n"
      "</head>\n<body>\n<header><div class=\"bar\"><span class=\"brand\">Windtunnel</span></div>\n"
      "<h1>{0}</h1></header>\n<main>\n",
      escaped(title), page_file("report.css"), kStyle);
  out += section("Findings", table.findings);
  out += "<section><h2>Cases</h2>\n<table class=\"data\">\n<tr>";
  for (const std::string& name : table.titles)
    out += fmt::format("<th class=\"number\">{}</th>", escaped(name));
  out += "</tr>\n";
  for (const CsvRow& row : table.rows) {
    out += "<tr>";
    for (const std::string& text : row) out += cell(text);
    out += "</tr>\n";
  }
  out += "</table></section>\n" + section("Not simulated", table.failures);
  return out + "</main>\n</body>\n</html>\n";
}

}  // namespace windtunnel

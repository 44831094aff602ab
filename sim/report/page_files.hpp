// The files of report/page, d3 and validation/intervals.json, inside the program
// (report/page/embed.cmake).
#pragma once

#include <string_view>

namespace windtunnel {

// Of a file that is embedded, by its name without folder.
std::string_view page_file(std::string_view name);

}  // namespace windtunnel

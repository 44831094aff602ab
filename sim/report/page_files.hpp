// The files of report/page and d3, inside the program (report/page/embed.cmake).
#pragma once

#include <string_view>

namespace windtunnel {

// Of a file that is embedded, by its name without folder.
std::string_view page_file(std::string_view name);

}  // namespace windtunnel

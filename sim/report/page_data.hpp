// What report.html shows, as JSON: the numbers of report.json and, in columns, the trace behind
// them. Times in it are whole picoseconds.
#pragma once

#include <functional>
#include <string_view>

#include "report/report.hpp"

namespace windtunnel {

// Beyond this many spans a page shows a part of the ranks and says so.
inline constexpr std::size_t kMostSpansOfPage = 200'000;

// Has no '<' in it, so it may stand inside a script element whatever the names in it are.
void write_page_data(const Job& job, const Plan& plan, const Trace& trace, const Report& report,
                     const std::function<void(std::string_view)>& sink);

}  // namespace windtunnel

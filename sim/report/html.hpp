// report.html: one page that needs nothing beside it, made from the files in report/page.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "report/report.hpp"

namespace windtunnel {

void write_html(const Job& job, const Plan& plan, const Trace& trace, const Report& report,
                const std::function<void(std::string_view)>& sink);

std::string html(const Job& job, const Plan& plan, const Trace& trace, const Report& report);

}  // namespace windtunnel

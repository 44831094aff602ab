// Pages to look at that need nothing beside them: a file of report/page with d3, style, scripts and
// data inside.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace windtunnel {

using PageSink = std::function<void(std::string_view)>;

// `name`: "report.html"; it says @LICENSE@, @STYLE@, @DATA@, @D3@ and @SCRIPTS@, each on a line of
// its own, where these go in. `scripts` in the order in which they use one another. `write_data`
// writes JSON without a '<' in it.
void write_page(std::string_view name, std::span<const std::string_view> scripts,
                const std::function<void(const PageSink&)>& write_data, const PageSink& sink);

// JSON that may stand inside a script element whatever the names in it are: "</script>" in a name
// would end the element. In JSON a '<' is always inside a string.
std::string without_markup(std::string_view json);

}  // namespace windtunnel

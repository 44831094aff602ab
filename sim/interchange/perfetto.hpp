// Perfetto's own binary form of a trace, for pictures that are too large for JSON. Times are whole
// nanoseconds there.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "interchange/trace_writer.hpp"

namespace windtunnel {

// Hands the bytes to `sink` in pieces of about a megabyte, the last one when it is destroyed.
std::unique_ptr<TraceWriter> perfetto_writer(std::function<void(std::string_view)> sink);

}  // namespace windtunnel

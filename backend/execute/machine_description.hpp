// What a measurement must say about where and when it was taken.
#pragma once

#include <string>

namespace windtunnel {

std::string utc_date();             // now, ISO 8601: "2026-11-21T16:02:11Z"
std::string machine_description();  // "Intel(R) Xeon(R) ..., 2 cores, 24 GiB, Linux 6.1.0"

}  // namespace windtunnel

// SIM_CHECK(condition, why): an assertion about our own code, kept in release builds.
// User input never reaches one: config/ has refused it before with a ConfigError.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace windtunnel {

[[noreturn]] inline void check_failed(const char* file, int line, const char* condition,
                                      const std::string& why) {
  std::fprintf(stderr, "%s:%d: internal error: %s (%s)\n", file, line, why.c_str(), condition);
  std::abort();
}

}  // namespace windtunnel

#define SIM_CHECK(condition, why) \
  ((condition) ? void() : ::windtunnel::check_failed(__FILE__, __LINE__, #condition, (why)))

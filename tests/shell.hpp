// Commands that tests run.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "catch.hpp"

namespace windtunnel {

struct Ended {
  int code = 0;
  std::string output;
};

// A shell command's exit code and what it wrote to its standard output.
inline Ended ended(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe);
  Ended ended;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) ended.output += char(c);
  const int status = ::pclose(pipe);
  REQUIRE(WIFEXITED(status));
  ended.code = WEXITSTATUS(status);
  return ended;
}

// The program, with its errors among its output.
inline Ended program(const std::string& arguments) {
  return ended("'" WINDTUNNEL_PROGRAM "' " + arguments + " 2>&1");
}

}  // namespace windtunnel

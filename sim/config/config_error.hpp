// What is wrong with the user's input. Thrown in config/, and in commands/ for what a verb is
// given; caught in main, and where a sweep or a validation goes on with the next row.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace windtunnel {

// what() is the full text to print, without a newline at the end:
//
//     jobs/a.yaml:4:3: error: parallel: unknown key 'pipelin' (did you mean 'pipeline'?)
//       pipelin: 8
//       ^
//
// Lines and columns count from 1; columns count characters, not bytes.
class ConfigError : public std::exception {
 public:
  explicit ConfigError(std::string text) : text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

}  // namespace windtunnel

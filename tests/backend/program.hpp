// Programs as people start them.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "folder.hpp"

namespace windtunnel {

struct End {
  int code = 0;
  std::string output, errors;
};

// Of a shell command; its output passes through files of the folder.
inline End end_of(const std::string& command, const TemporaryFolder& folder) {
  const std::string out = (folder.path / "stdout").string();
  const std::string err = (folder.path / "stderr").string();
  const int status = std::system((command + " >" + out + " 2>" + err).c_str());
  return {WEXITSTATUS(status), text_of(out), text_of(err)};
}

}  // namespace windtunnel

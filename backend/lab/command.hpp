// Programs of the machine, run one at a time without a shell.
#pragma once

#include <string>
#include <vector>

namespace windtunnel {

using Command = std::vector<std::string>;  // the program and its arguments

// Words with spaces between them.
std::string to_text(const Command& command);

// Where the program is: in PATH, or in the system's own folders, which a user's PATH may leave out.
// Empty if it is nowhere.
std::string path_of(const std::string& program);

struct Ran {
  std::string out;  // what it wrote to standard output
  std::string
      problem;  // the command and why it failed, with what it wrote to standard error; or empty
};
// Waits for the end of the command, or ends it after 10 s. Open files without close-on-exec stay
// open in it.
Ran ran(const Command& command);

}  // namespace windtunnel

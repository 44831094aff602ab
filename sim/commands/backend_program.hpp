// The program beside this one that runs jobs on real devices.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace windtunnel {

// Beside this program's own file.
std::filesystem::path backend_program();

// Why there is none, as a sentence with the remedy, or empty.
std::string backend_complaint();

// Runs it with these arguments, on this process's terminal, and returns its exit code; 128 + the
// signal if one ended it. Requires backend_complaint() empty.
int run_backend(const std::vector<std::string>& arguments);

}  // namespace windtunnel

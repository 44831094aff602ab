// Static pictures of what simulate and sweep wrote, for papers and slides.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pictures/picture.hpp"

namespace windtunnel {

struct PlotOptions {
  std::filesystem::path folder;
  std::string kind, format = "svg";
  std::filesystem::path out{};  // empty: KIND.FORMAT in the folder
};

struct PlotOutcome {
  std::filesystem::path file;
  std::string problem;  // why the machine could not write it, or empty
};

// Throws ConfigError for an unknown kind or format and for a folder that lacks what the kind reads.
PlotOutcome plot(const PlotOptions& options);

// The kinds. Each reads files of the folder and throws ConfigError for whatever is wrong with them.
Picture timeline_picture(const std::filesystem::path& folder);
Picture breakdown_picture(const std::filesystem::path& folder);
Picture memory_picture(const std::filesystem::path& folder);
Picture scaling_picture(const std::filesystem::path& folder);

}  // namespace windtunnel

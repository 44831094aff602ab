// A GPU as YAML.
#pragma once

#include <string>

#include "cluster/gpu.hpp"

namespace windtunnel {

std::string quoted(const std::string& text);  // on one line

// The mapping `gpu:` of a profile, as read_gpu reads it.
std::string gpu_text(const GpuSpec& gpu);

}  // namespace windtunnel

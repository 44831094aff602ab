// What is kept of a lab while it is up: one JSON file, which exists only for a complete lab.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "backend/lab/lab.hpp"

namespace windtunnel {

// Only root builds labs, so there is one folder for the whole machine. It is in memory: a reboot
// takes it away together with the namespaces.
inline const std::filesystem::path kLabFolder = "/run/windtunnel";
inline const std::filesystem::path kLabState = kLabFolder / "lab.json";

std::string to_json(const Lab& lab);
// Nothing if the text is not what to_json writes.
std::optional<Lab> lab_of_json(const std::string& text);

}  // namespace windtunnel

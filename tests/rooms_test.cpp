// The include arrows of sim/README.md, and what every source file promises to a reader.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = WINDTUNNEL_SOURCE_DIR;

const std::map<std::string, std::set<std::string>> kMaySee = {
    {"base", {"base"}},
    {"pictures", {"base", "pictures"}},
    {"cluster", {"base", "cluster"}},
    {"model", {"base", "model"}},
    {"schedules", {"schedules"}},
    {"collectives", {"base", "collectives"}},
    {"plan", {"base", "cluster", "model", "schedules", "collectives", "plan"}},
    {"interchange",
     {"base", "cluster", "model", "schedules", "collectives", "plan", "interchange"}},
    {"config",
     {"base", "cluster", "model", "schedules", "collectives", "plan", "interchange", "config"}},
    {"engine", {"base", "cluster", "model", "schedules", "collectives", "plan", "engine"}},
    {"report",
     {"base", "cluster", "model", "schedules", "collectives", "plan", "interchange", "report"}},
    {"commands",
     {"base", "cluster", "model", "schedules", "collectives", "plan", "interchange", "config",
      "engine", "report", "pictures", "commands"}},
};
// The rooms of backend/, which call themselves by their path; and what they see of the predictor.
const std::map<std::string, std::set<std::string>> kBackendMaySee = {
    {"backend/lab", {"base", "cluster", "backend/lab"}},
    {"backend/launch", {"backend/launch"}},
    {"backend/comm", {"base", "backend/launch", "backend/comm"}},
    {"backend/model",
     {"base", "cluster", "model", "schedules", "plan", "config", "backend/comm", "backend/model"}},
    {"backend/execute",
     {"base", "cluster", "model", "schedules", "collectives", "plan", "config", "report",
      "backend/launch", "backend/comm", "backend/model", "backend/execute"}},
    {"backend/calibrate",
     {"base", "cluster", "plan", "backend/comm", "backend/model", "backend/execute",
      "backend/calibrate"}},
};
// Which room, or which files, may include a third-party library.
const std::map<std::string, std::set<std::string>> kThirdParty = {
    {"yaml-cpp", {"config"}},
    {"simgrid", {"engine/simgrid_compat.hpp"}},
    {"xbt", {"engine/simgrid_compat.hpp"}},
    {"nlohmann", {"interchange", "config", "report", "commands", "backend/lab"}},
    {"google", {"interchange"}},
    {"mpi.h", {"commands/ranks.cpp"}},
    {"cairo.h", {"pictures/cairo.cpp"}},
    {"cairo-svg.h", {"pictures/cairo.cpp"}},
    {"CLI", {"main.cpp", "backend/main.cpp"}},
    {"torch", {"backend", "backend/comm", "backend/model", "backend/execute", "backend/calibrate"}},
    {"ATen", {"backend", "backend/comm", "backend/model", "backend/execute", "backend/calibrate"}},
};

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<fs::path> sources(const std::string& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
    if (entry.path().extension() == ".cpp" || entry.path().extension() == ".hpp")
      found.push_back(entry.path());
  REQUIRE(!found.empty());
  return found;
}

// "cluster" of "cluster/gpu.hpp", "backend/lab" of "backend/lab/lab.hpp", "backend" of files beside
// its rooms.
std::string room_of(const std::string& path) {
  const std::size_t first = path.find('/');
  const std::string room = path.substr(0, first);
  if (room != "backend" || path.find('/', first + 1) == std::string::npos) return room;
  return path.substr(0, path.find('/', first + 1));
}

// The room of #include "cluster/gpu.hpp", and what is between the marks.
struct Include {
  std::string path, first;
};
std::vector<Include> includes_of(const fs::path& path) {
  std::vector<Include> includes;
  for (const std::string& line : lines_of(path)) {
    if (line.rfind("#include ", 0) != 0) continue;
    const std::string target = line.substr(10, line.find_last_of("\">") - 10);
    includes.push_back({target, room_of(target)});
  }
  return includes;
}

}  // namespace

TEST_CASE("rooms include only what the code map allows") {
  std::map<std::string, std::set<std::string>> rooms = kMaySee;
  rooms.insert(kBackendMaySee.begin(), kBackendMaySee.end());
  std::vector<fs::path> files = sources("sim");
  for (const fs::path& path : sources("backend")) files.push_back(path);
  for (const fs::path& path : files) {
    const std::string whole = fs::relative(path, kRoot).generic_string();
    const std::string inside = whole.starts_with("sim/") ? whole.substr(4) : whole;
    const std::string room = room_of(inside);
    for (const Include& include : includes_of(path)) {
      INFO(inside << " includes " << include.path);
      // The verbs and the command line see every room.
      if (const auto may_see = rooms.find(room);
          may_see != rooms.end() && rooms.contains(include.first))
        CHECK(may_see->second.contains(include.first));
      if (const auto fenced = kThirdParty.find(include.first); fenced != kThirdParty.end())
        CHECK((fenced->second.contains(room) || fenced->second.contains(inside)));
    }
  }
}

TEST_CASE("headers open with what they are for and lines stay within 100 columns") {
  for (const std::string folder : {"sim", "backend", "tests"})
    for (const fs::path& path : sources(folder)) {
      const std::vector<std::string> lines = lines_of(path);
      INFO(path.string());
      REQUIRE(!lines.empty());
      if (path.extension() == ".hpp") CHECK(lines.front().rfind("// ", 0) == 0);
      for (std::size_t i = 0; i < lines.size(); ++i) {
        INFO("line " << i + 1 << ": " << lines[i]);
        std::size_t columns = 0;  // characters, not bytes
        for (const char c : lines[i]) columns += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
        CHECK(columns <= 100);
      }
    }
}

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
    {"cluster", {"base", "cluster"}},
    {"model", {"base", "model"}},
    {"schedules", {"schedules"}},
    {"collectives", {"base", "collectives"}},
    {"plan", {"base", "cluster", "model", "schedules", "collectives", "plan"}},
    {"config", {"base", "cluster", "model", "schedules", "collectives", "plan", "config"}},
    {"engine", {"base", "cluster", "model", "schedules", "collectives", "plan", "engine"}},
    {"report", {"base", "cluster", "model", "schedules", "collectives", "plan", "report"}},
    {"commands",
     {"base", "cluster", "model", "schedules", "collectives", "plan", "config", "engine", "report",
      "commands"}},
};
// Which room, or which files, may include a third-party library.
const std::map<std::string, std::set<std::string>> kThirdParty = {
    {"yaml-cpp", {"config"}},
    {"simgrid", {"engine/simgrid_compat.hpp"}},
    {"xbt", {"engine/simgrid_compat.hpp"}},
    {"nlohmann", {"config", "report", "commands"}},
    {"mpi.h", {"commands/ranks.cpp"}},
    {"CLI", {"main.cpp"}},
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

// "cluster" of #include "cluster/gpu.hpp", and what is between the marks.
struct Include {
  std::string path, first;
};
std::vector<Include> includes_of(const fs::path& path) {
  std::vector<Include> includes;
  for (const std::string& line : lines_of(path)) {
    if (line.rfind("#include ", 0) != 0) continue;
    const std::string target = line.substr(10, line.find_last_of("\">") - 10);
    includes.push_back({target, target.substr(0, target.find('/'))});
  }
  return includes;
}

}  // namespace

TEST_CASE("rooms include only what the code map allows") {
  for (const fs::path& path : sources("sim")) {
    const std::string inside = fs::relative(path, kRoot / "sim").generic_string();
    const std::string room = inside.substr(0, inside.find('/'));
    for (const Include& include : includes_of(path)) {
      INFO(inside << " includes " << include.path);
      // The verbs and the command line see every room.
      if (const auto may_see = kMaySee.find(room);
          may_see != kMaySee.end() && kMaySee.contains(include.first))
        CHECK(may_see->second.contains(include.first));
      if (const auto fenced = kThirdParty.find(include.first); fenced != kThirdParty.end())
        CHECK((fenced->second.contains(room) || fenced->second.contains(inside)));
    }
  }
}

TEST_CASE("headers open with what they are for and lines stay within 100 columns") {
  for (const std::string folder : {"sim", "tests"})
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

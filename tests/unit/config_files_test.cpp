// Every file of topologies/ and workloads/ loads, and every file of tests/bad_yaml/ fails with the
// message beside it. UPDATE_GOLDEN=1 writes the messages anew.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "catch.hpp"
#include "config/config_error.hpp"
#include "config/load.hpp"

namespace fs = std::filesystem;

namespace {

const fs::path kSource = WINDTUNNEL_SOURCE_DIR;

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".yaml" || entry.path().extension() == ".json")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// The message of what is wrong with a file; empty if it loads.
std::string problem_of(const std::string& path) {
  try {
    windtunnel::check_file(path);
  } catch (const windtunnel::ConfigError& error) {
    return error.what();
  }
  return "";
}

std::string text_of(const fs::path& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Messages name files as they were opened: from inside the folder, without any machine's path.
class InFolder {
 public:
  explicit InFolder(const fs::path& folder) : before_(fs::current_path()) {
    fs::current_path(folder);
  }
  ~InFolder() { fs::current_path(before_); }
  InFolder(const InFolder&) = delete;
  InFolder& operator=(const InFolder&) = delete;

 private:
  fs::path before_;
};

}  // namespace

TEST_CASE("every file of topologies and workloads loads") {
  for (const char* folder : {"topologies", "workloads"})
    for (const fs::path& file : files_below(kSource / folder)) {
      CAPTURE(file);
      CHECK(problem_of(file.string()) == "");
    }
}

TEST_CASE("every folder holds files of its kind") {
  using windtunnel::FileKind;
  const std::pair<const char*, FileKind> folders[] = {
      {"topologies/gpus", FileKind::Gpu},         {"topologies/nodes", FileKind::Node},
      {"topologies/clusters", FileKind::Cluster}, {"topologies/prices", FileKind::Price},
      {"workloads/models", FileKind::Model},      {"workloads/korthikanti", FileKind::Job}};
  for (const auto& [folder, kind] : folders)
    for (const fs::path& file : files_below(kSource / folder)) {
      CAPTURE(file);
      CHECK(windtunnel::check_file(file.string()) == kind);
    }
}

TEST_CASE("every job opens with what it shows") {
  for (const auto& entry : fs::directory_iterator(kSource / "workloads")) {
    if (entry.path().extension() != ".yaml") continue;
    CAPTURE(entry.path());
    CHECK(text_of(entry.path()).starts_with("# "));
  }
}

TEST_CASE("every bad file fails with the message beside it") {
  const InFolder folder(kSource / "tests" / "bad_yaml");
  int files = 0;
  for (const fs::path& file : files_below(".")) {
    CAPTURE(file);
    const std::string problem = problem_of(file.filename().string()) + "\n";
    const fs::path expected = fs::path(file).replace_extension(".err");
    if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(expected) << problem;
    CHECK(problem == text_of(expected));
    ++files;
  }
  CHECK(files >= 60);
}

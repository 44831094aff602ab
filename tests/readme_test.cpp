// The outputs that the README shows are what the program prints.
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "folder.hpp"
#include "shell.hpp"

using namespace windtunnel;

namespace {

const std::string kRoot = WINDTUNNEL_SOURCE_DIR;

struct Example {
  std::string command, output;
};

// Commands of ```console blocks: a line "$ command", then its output up to the next command or the
// end.
std::vector<Example> examples() {
  std::ifstream file(kRoot + "/README.md");
  std::vector<Example> found;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("```", 0) == 0) {
      inside = line == "```console";
    } else if (inside && line.rfind("$ ", 0) == 0) {
      found.push_back({line.substr(2), ""});
    } else if (inside) {
      REQUIRE(!found.empty());
      found.back().output += line + "\n";
    }
  }
  return found;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  if (text.rfind(from, 0) == 0) text.replace(0, from.size(), to);
  return text;
}

std::string output_of(const std::string& command) {
  const Ended run = ended("cd '" + kRoot + "' && " + command + " 2>&1");
  REQUIRE(run.code == 0);
  return run.output;
}

}  // namespace

// UPDATE_GOLDEN=1 writes the outputs into the README, and the diff shows what moved.
TEST_CASE("the README's commands print what it shows") {
  const std::vector<Example> all = examples();
  REQUIRE(all.size() >= 3);
  std::string readme = text_of(kRoot + "/README.md");
  for (const Example& example : all) {
    INFO(example.command);
    const std::string command = replaced(example.command, "./windtunnel", WINDTUNNEL_PROGRAM);
    const std::string output = output_of(command);
    if (std::getenv("UPDATE_GOLDEN")) {
      const std::string shown = "$ " + example.command + "\n";
      readme.replace(readme.find(shown + example.output), shown.size() + example.output.size(),
                     shown + output);
    } else {
      CHECK(output == example.output);
    }
  }
  if (std::getenv("UPDATE_GOLDEN")) write_text(kRoot + "/README.md", readme);
}

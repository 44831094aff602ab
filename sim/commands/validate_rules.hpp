// validation/systems.yaml: how the words of published tables become keys of a job.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace windtunnel {

// One entry of a section: the texts it stands for, and what it gives.
struct Rule {
  std::vector<std::string> match;
  std::map<std::string, std::string, std::less<>> values;
  std::vector<std::string> set;

  std::string operator[](std::string_view key) const;  // empty if it is absent
};

struct Rules {
  std::string path;
  std::map<std::string, std::vector<Rule>, std::less<>> sections;

  // The first rule of the section with a text that occurs in the cell, or that matches all cells;
  // null if there is none.
  const Rule* find(std::string_view section, std::string_view cell) const;
};

// Throws ConfigError.
Rules load_rules(const std::string& path);

}  // namespace windtunnel

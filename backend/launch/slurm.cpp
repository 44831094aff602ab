#include "backend/launch/slurm.hpp"

#include <regex>

namespace windtunnel {

std::string slurm_first_host(const std::string& node_list) {
  std::string host;
  bool in_brackets = false, past_first = false;  // the first number of a bracket counts
  for (const char c : node_list) {
    if (c == '[') {
      in_brackets = true;
      past_first = false;
    } else if (c == ']') {
      in_brackets = false;
    } else if (in_brackets) {
      past_first |= c == '-' || c == ',';
      if (!past_first) host += c;
    } else if (c == ',') {
      break;
    } else {
      host += c;
    }
  }
  return host;
}

std::optional<int> slurm_tasks_on_node(const std::string& tasks_per_node, int node) {
  static const std::regex item(R"((\d{1,6})(?:\(x(\d{1,6})\))?(?:,|$))");
  int first_node = 0;
  for (std::sregex_iterator match(tasks_per_node.begin(), tasks_per_node.end(), item,
                                  std::regex_constants::match_continuous),
       end;
       match != end; ++match) {
    first_node += (*match)[2].matched ? std::stoi((*match)[2]) : 1;
    if (node < first_node) return std::stoi((*match)[1]);
  }
  return std::nullopt;
}

}  // namespace windtunnel

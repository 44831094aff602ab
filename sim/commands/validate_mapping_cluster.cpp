#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "commands/validate_mapping.hpp"

namespace windtunnel {

// Servers that NVLink joins are one node here: of a job its most GPUs that divide it evenly.
long long RowMapping::gpus_of_node(const Rule& gpu, long long of_server) {
  const std::string domain = gpu["nvlink_domain"];
  if (domain.empty()) return of_server;
  long long gpus = std::min(gpus_, std::stoll(domain) / of_server * of_server);
  while (gpus > of_server && (gpus_ % gpus != 0 || gpus % of_server != 0)) --gpus;
  assume(fmt::format("{} GPUs in an NVLink domain", gpus));
  return gpus;
}

// The network that the row, its software or its GPU names. `servers`: that NVLink joins to a node.
std::string RowMapping::fabric(const Rule& gpu, long long servers) {
  const std::string stated = row_.text("inter_node");
  const Rule* found = stated.empty() ? nullptr : rules_.find("fabrics", stated);
  if (!found) {
    const std::string assumed =
        (*framework_)["fabric"].empty() ? gpu["fabric"] : (*framework_)["fabric"];
    assume("fabric " + assumed);
    found = rules_.find("fabrics", assumed);
    if (!found) refuse("a word without a rule", "fabrics: " + assumed);
  }
  assume((*found)["note"]);
  set_node(fmt::format("nics.count={}", servers * std::stoll((*found)["nics"])));
  set_node("nics.bandwidth=" + (*found)["rate"]);
  set_node(fmt::format("nccl.channels_inter={}", servers * std::stoll((*found)["channels"])));
  set_node("nccl.channel_inter=" + (*found)["channel"]);
  return ", fabric: " + (*found)["fabric"];
}

std::string RowMapping::cluster() {
  if (row_.text("gpu_type").empty()) refuse("no GPU stated");
  const Rule& gpu = rule("gpus", row_.text("gpu_type"));
  if (const std::string types = gpu["types"]; !contains(types, " " + type_ + " "))
    refuse("no efficiency curves of this number format", type_);
  const long long of_server = size_or("gpus_per_node", kUsualGpus);
  const long long per_node = gpus_of_node(gpu, of_server);
  const long long nodes = (gpus_ + per_node - 1) / per_node;
  for (const std::string& change : gpu.set) set_node(change);
  if (const std::string file = gpu["gpu"]; !file.empty()) {
    const auto folder = std::filesystem::path(rules_.path).parent_path();
    result_.overrides.insert(
        result_.overrides.begin(),
        "cluster.nodes.0.type.gpu=" + (folder / file).lexically_normal().string());
  }
  if (per_node != kUsualGpus && (nodes > 1 || gpus_ > kUsualGpus))
    set_node(fmt::format("gpus={}", per_node));
  return fmt::format(
      "cluster: {{name: published, nodes: [{{type: {}, count: {}}}]{}, "
      "communication: {{model: nccl}}}}\n",
      gpu["node"], nodes, nodes > 1 ? fabric(gpu, per_node / of_server) : "");
}

}  // namespace windtunnel

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "report/page_parts.hpp"
#include "report/placement.hpp"

namespace windtunnel {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kBusiestLinks = 10;
constexpr std::size_t kShownNodes = 4;  // side by side on a page 1280 px wide

double utilisation(Bytes bytes, Rate bandwidth, Seconds step) {
  return bandwidth > Rate(0) && step > Seconds(0) ? bytes / (bandwidth * step) : 0;
}

struct ClassLoad {
  Rate slowest, fastest;
  Bytes bytes;
  Rate bandwidth;  // of all that carried something
  double links = 0, busiest = 0;
};

Json class_loads(const Cluster& cluster, const Trace& trace) {
  std::map<LinkClass, ClassLoad> loads;
  for (const LinkLoad& load : trace.links) {
    const Link& link = cluster.links[std::size_t(load.link)];
    const auto [found, is_new] = loads.try_emplace(link.kind);
    ClassLoad& sum = found->second;
    sum.slowest = is_new ? link.bandwidth : std::min(sum.slowest, link.bandwidth);
    sum.fastest = std::max(sum.fastest, link.bandwidth);
    sum.bytes += load.bytes * load.represented;
    sum.bandwidth += link.bandwidth * load.represented;
    sum.links += load.represented;
    sum.busiest = std::max(sum.busiest, utilisation(load.bytes, link.bandwidth, trace.end));
  }
  Json list = Json::array();
  for (const auto& [kind, sum] : loads)
    list.push_back({{"class", name_of(kLinkClassNames, kind)},
                    {"links", sum.links},
                    {"bytes", sum.bytes.value},
                    {"slowest", sum.slowest.value},
                    {"fastest", sum.fastest.value},
                    {"mean", utilisation(sum.bytes, sum.bandwidth, trace.end)},
                    {"busiest", sum.busiest}});
  return list;
}

// "nic1.up" of "n3.nic1.up"; the whole name if the link is of no node.
std::string name_in_node(const std::string& name) {
  const std::size_t dot = name.find('.');
  const bool is_of_node = dot != std::string::npos && dot > 1 && name[0] == 'n' &&
                          name.find_first_not_of("0123456789", 1) == dot;
  return is_of_node ? name.substr(dot + 1) : name;
}

struct BusyLink {
  double utilisation = 0;
  const Link* link = nullptr;
  Bytes bytes;
  int represented = 0;
};

// The same link of several nodes is one entry where all carry the same.
Json busiest_links(const Cluster& cluster, const Trace& trace) {
  std::map<std::tuple<std::string, double, long long>, BusyLink> alike;
  for (const LinkLoad& load : trace.links) {
    const Link& link = cluster.links[std::size_t(load.link)];
    const auto [found, is_new] = alike.try_emplace(
        {name_in_node(link.name), link.bandwidth.value, std::llround(load.bytes.value)});
    if (is_new)
      found->second = {utilisation(load.bytes, link.bandwidth, trace.end), &link, load.bytes};
    found->second.represented += load.represented;
  }
  std::vector<BusyLink> links;
  links.reserve(alike.size());
  for (const auto& [name, link] : alike) links.push_back(link);
  std::stable_sort(links.begin(), links.end(), [](const BusyLink& a, const BusyLink& b) {
    return a.utilisation > b.utilisation;
  });
  if (links.size() > kBusiestLinks) links.resize(kBusiestLinks);
  Json list = Json::array();
  for (const BusyLink& busy : links)
    list.push_back({{"name", busy.link->name},
                    {"class", name_of(kLinkClassNames, busy.link->kind)},
                    {"bandwidth", busy.link->bandwidth.value},
                    {"represented", busy.represented},
                    {"bytes", busy.bytes.value},
                    {"utilisation", busy.utilisation}});
  return list;
}

Json activity_json(const Trace& trace) {
  Json list = Json::array();
  for (const ClassActivity& activity : trace.activity) {
    Json bytes = Json::array();
    for (const Bytes bin : activity.bytes) bytes.push_back(bin.value);
    list.push_back({{"class", name_of(kLinkClassNames, activity.kind)},
                    {"capacity", activity.capacity.value},
                    {"bytes", std::move(bytes)}});
  }
  return list;
}

// ---- the cluster --------------------------------------------------------------------------------

// By GPU of the job: its node.
std::vector<int> node_of_gpu(const Job& job) {
  std::vector<int> nodes;
  for (int node = 0; node < int(job.cluster.type_of_node.size()); ++node) {
    const int type = job.cluster.type_of_node[std::size_t(node)];
    const int gpus = job.cluster.node_types[std::size_t(type)].gpus;
    for (int gpu = 0; gpu < gpus && int(nodes.size()) < job.gpus; ++gpu) nodes.push_back(node);
  }
  return nodes;
}

// All nodes if they are few, else some of those that hold a rank of the trace, evenly.
std::vector<int> nodes_to_show(const Trace& trace, const std::vector<int>& node_of) {
  std::set<int> nodes;
  if (node_of.back() < int(kShownNodes))
    nodes.insert(node_of.begin(), node_of.end());
  else
    for (const RankTrace& rank : trace.ranks) nodes.insert(node_of[std::size_t(rank.rank)]);
  std::vector<int> all(nodes.begin(), nodes.end());
  if (all.size() <= kShownNodes) return all;
  std::vector<int> some;
  for (std::size_t i = 0; i < kShownNodes; ++i)
    some.push_back(all[i * (all.size() - 1) / (kShownNodes - 1)]);
  return some;
}

// By rank: the rank of the trace that is it or, in a folded trace, probably stands for it: one of
// its pipeline coordinate that stands for others and runs on the same type of node, the next before
// it.
std::vector<std::size_t> stand_ins(const Job& job, const Plan& plan, const Trace& trace,
                                   const std::vector<int>& node_of) {
  const auto likeness = [&](int rank) {
    const int node = node_of[std::size_t(rank)];
    return std::pair(plan.grid.coordinates(rank).pipeline,
                     job.cluster.type_of_node[std::size_t(node)]);
  };
  std::map<int, std::size_t> exact, of_pipeline;
  std::map<std::pair<int, int>, std::map<int, std::size_t>> alike;  // by likeness and rank
  for (std::size_t i = 0; i < trace.ranks.size(); ++i) {
    const RankTrace& rank = trace.ranks[i];
    exact[rank.rank] = i;
    of_pipeline.try_emplace(plan.grid.coordinates(rank.rank).pipeline, i);
    if (rank.represented > 1) alike[likeness(rank.rank)][rank.rank] = i;
  }
  std::vector<std::size_t> of_rank;
  for (int rank = 0; rank < plan.grid.size(); ++rank) {
    const auto& candidates = alike[likeness(rank)];
    auto next = candidates.upper_bound(rank);
    if (next != candidates.begin()) --next;
    if (const auto found = exact.find(rank); found != exact.end())
      of_rank.push_back(found->second);
    else if (next != candidates.end())
      of_rank.push_back(next->second);
    else
      of_rank.push_back(of_pipeline.at(plan.grid.coordinates(rank).pipeline));
  }
  return of_rank;
}

// What the links of a node carry. A link that the trace does not show carries what the shown ones
// of its class stand for, on average.
class NodeLinks {
 public:
  NodeLinks(const Cluster& cluster, const Trace& trace) : cluster_(cluster), trace_(trace) {
    for (const LinkLoad& load : trace.links) {
      const Link& link = cluster.links[std::size_t(load.link)];
      exact_[load.link] = utilisation(load.bytes, link.bandwidth, trace.end);
      hidden_bytes_[std::size_t(link.kind)] += load.bytes * (load.represented - 1);
    }
    for (int i = 0; i < int(cluster.links.size()); ++i) {
      const Link& link = cluster.links[std::size_t(i)];
      if (!exact_.contains(i)) hidden_bandwidth_[std::size_t(link.kind)] += link.bandwidth;
      if (name_in_node(link.name).size() < link.name.size())
        of_node_[link.name.substr(0, link.name.find('.'))].push_back(i);
    }
  }

  Json json(int node) const {
    Json list = Json::array();
    const auto found = of_node_.find("n" + std::to_string(node));
    if (found == of_node_.end()) return list;
    for (const int index : found->second) {
      const Link& link = cluster_.links[std::size_t(index)];
      list.push_back({{"name", name_in_node(link.name)},
                      {"class", name_of(kLinkClassNames, link.kind)},
                      {"bandwidth", link.bandwidth.value},
                      {"utilisation", load(index)}});
    }
    return list;
  }

 private:
  double load(int index) const {
    if (const auto found = exact_.find(index); found != exact_.end()) return found->second;
    const auto kind = std::size_t(cluster_.links[std::size_t(index)].kind);
    return utilisation(hidden_bytes_[kind], hidden_bandwidth_[kind], trace_.end);
  }

  const Cluster& cluster_;
  const Trace& trace_;
  std::map<int, double> exact_;
  std::array<Bytes, kLinkClassNames.size()> hidden_bytes_;
  std::array<Rate, kLinkClassNames.size()> hidden_bandwidth_;
  std::map<std::string, std::vector<int>> of_node_;
};

Json parameters_json(std::span<const ParameterSpec> specs, const Parameters& parameters) {
  static constexpr std::array<std::string_view, 9> kKinds = {
      "count", "ratio", "flag", "rate", "size", "time", "counts", "times", "sizes"};
  Json list = Json::array();
  for (const ParameterSpec& spec : specs) {
    if (!parameters.has(spec.name)) continue;
    list.push_back({{"name", spec.name},
                    {"kind", kKinds[std::size_t(spec.kind)]},
                    {"values", parameters.list(spec.name)}});
  }
  return list;
}

template <class Row>
Json family_json(std::span<const Row> rows, const std::string& name, const Parameters& parameters) {
  for (const Row& row : rows)
    if (row.name == name)
      return {{"family", name},
              {"source", row.source},
              {"parameters", parameters_json(row.parameters, parameters)}};
  return {{"family", name}, {"source", ""}, {"parameters", Json::array()}};
}

Json node_type_json(const NodeType& type, int used) {
  return {{"name", type.name},
          {"used", used},
          {"gpus", type.gpus},
          {"gpu", type.gpu.name},
          {"gpu_memory", type.gpu.memory.value},
          {"nics", type.nics},
          {"nic_bandwidth", type.nic_bandwidth.value},
          {"interconnect",
           family_json(node_interconnects(), type.interconnect, type.interconnect_parameters)}};
}

}  // namespace

Json network_json(const Cluster* cluster, const Trace& trace) {
  return {{"bin_s", trace.activity_bin.value},
          {"activity", activity_json(trace)},
          {"classes", cluster ? class_loads(*cluster, trace) : Json::array()},
          {"busiest", cluster ? busiest_links(*cluster, trace) : Json::array()}};
}

Json cluster_json(const Cluster* cluster, const Job& job, const Plan& plan, const Trace& trace,
                  const Report& report) {
  const std::vector<int> node_of = node_of_gpu(job);
  const std::vector<std::size_t> stand_in = stand_ins(job, plan, trace, node_of);
  std::vector<int> used(job.cluster.node_types.size());
  for (int node = 0; node <= node_of.back(); ++node)
    ++used[std::size_t(job.cluster.type_of_node[std::size_t(node)])];
  Json types = Json::array();
  for (std::size_t type = 0; type < used.size(); ++type)
    types.push_back(node_type_json(job.cluster.node_types[type], used[type]));

  std::map<int, Json> shown;
  for (const int node : nodes_to_show(trace, node_of))
    shown[node] = {{"node", node},
                   {"type", job.cluster.type_of_node[std::size_t(node)]},
                   {"gpus", Json::array()},
                   {"links", Json::array()}};
  for (int rank = 0; rank < std::min(plan.grid.size(), job.gpus); ++rank) {
    const auto node = shown.find(node_of[std::size_t(rank)]);
    if (node == shown.end()) continue;
    const RankSummary& summary = report.ranks[stand_in[std::size_t(rank)]];
    const double busy = trace.end > Seconds(0) ? summary.time.computing() / trace.end : 0;
    node->second["gpus"].push_back(
        {{"rank", rank}, {"stage", summary.pipeline}, {"computing", busy}});
  }
  if (cluster) {
    const NodeLinks links(*cluster, trace);
    for (auto& [node, json] : shown) json["links"] = links.json(node);
  }
  Json nodes = Json::array();
  for (auto& [node, json] : shown) nodes.push_back(std::move(json));
  return {{"name", job.cluster.name},
          {"nodes_used", node_of.back() + 1},
          {"nodes", job.cluster.type_of_node.size()},
          {"fabric", family_json(fabrics(), job.cluster.fabric, job.cluster.fabric_parameters)},
          {"types", types},
          {"shown", nodes}};
}

}  // namespace windtunnel

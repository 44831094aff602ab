#include "backend/lab/lab_state.hpp"

#include <nlohmann/json.hpp>

namespace windtunnel {

using Json = nlohmann::ordered_json;

std::string to_json(const Lab& lab) {
  Json hosts = Json::array(), shapers = Json::array();
  for (const LabHost& host : lab.hosts)
    hosts.push_back({{"namespace", host.netns},
                     {"address", host.address},
                     {"interface", host.interface},
                     {"first_rank", host.first_rank},
                     {"ranks", host.ranks}});
  for (const LabShaper& shaper : lab.shapers)
    shapers.push_back({{"link", shaper.link},
                       {"namespace", shaper.netns},
                       {"device", shaper.device},
                       {"bits_per_second", shaper.bits_per_second}});
  const Json state = {{"topology", lab.topology}, {"hosts", hosts}, {"shapers", shapers}};
  return state.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<Lab> lab_of_json(const std::string& text) {
  try {
    const Json state = Json::parse(text);
    Lab lab;
    lab.topology = state.at("topology");
    for (const Json& host : state.at("hosts"))
      lab.hosts.push_back({host.at("namespace"), host.at("address"), host.at("interface"),
                           host.at("first_rank"), host.at("ranks")});
    for (const Json& shaper : state.at("shapers"))
      lab.shapers.push_back({shaper.at("link"), shaper.at("namespace"), shaper.at("device"),
                             shaper.at("bits_per_second")});
    return lab;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace windtunnel

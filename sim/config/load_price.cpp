// What a provider asks for a node.
#include "config/loaders.hpp"

namespace windtunnel {

Price read_price(YamlMap map) {
  Price price;
  price.name = "inline";
  price.provider = map.at("provider").text();
  price.region = map.at("region").text();
  price.instance = map.at("instance").text();
  price.date = map.at("date").text();
  price.source = map.at("source").text();
  price.gpus_per_node = map.at("gpus_per_node").count();
  if (const auto value = map.find("on_demand"))
    price.on_demand = UsdPerHour(value->quantity(QuantityKind::HourlyPrice));
  if (const auto value = map.find("spot"))
    price.spot = UsdPerHour(value->quantity(QuantityKind::HourlyPrice));
  map.finish();
  if (!price.on_demand && !price.spot) map.fail("neither 'on_demand' nor 'spot' is given");
  return price;
}

}  // namespace windtunnel

// What calibration measured.
#include "config/loaders.hpp"
#include "plan/profile.hpp"

namespace windtunnel {
namespace {

constexpr std::int64_t kMostRanks = 1 << 20;

Figure read_figure(const YamlValue& time, const YamlValue& spread) {
  return {Seconds(time.quantity(QuantityKind::Duration)),
          spread.quantity(QuantityKind::Percentage, true)};
}

// [time, spread]
Figure read_pass(const YamlValue& value) {
  const std::vector<YamlValue> items = value.items();
  if (items.size() != 2) value.fail("expected [time, spread]");
  return read_figure(items[0], items[1]);
}

double read_count(const YamlValue& value) {
  return value.ratio();
}
double read_bytes(const YamlValue& value) {
  return value.quantity(QuantityKind::ByteSize);
}

// [[size, time, spread], ...]
MeasuredCurve read_points(const YamlValue& value, double (*read_size)(const YamlValue&)) {
  MeasuredCurve curve;
  for (const YamlValue& point : value.items()) {
    const std::vector<YamlValue> items = point.items();
    if (items.size() != 3) point.fail("expected [size, time, spread]");
    const double size = read_size(items[0]);
    if (!curve.points.empty() && size <= curve.points.back().size)
      items[0].fail("the sizes of a curve must increase");
    curve.points.push_back({size, read_figure(items[1], items[2])});
  }
  if (curve.points.empty()) value.fail("a curve needs at least one point");
  return curve;
}

LayerTime read_layer(YamlMap map) {
  LayerTime layer;
  layer.identity = {map.at("model").text(), map.at("layer").text(), map.at("slice").text()};
  layer.kin = {map.at("kin").text(), map.at("size").ratio()};
  for (std::size_t pass = 0; pass < kPassNames.size(); ++pass)
    if (const auto value = map.find(kPassNames[pass])) layer.passes[pass] = read_pass(*value);
  map.finish();
  return layer;
}

OptimizerTime read_optimizer(YamlMap map) {
  OptimizerTime time;
  time.identity = map.at("job").text();
  const YamlValue update = map.at("update");
  const auto norm = map.find("norm");
  map.finish();
  time.update = read_points(update, read_count);
  if (norm) time.norm = read_points(*norm, read_count);
  return time;
}

CollectiveTime read_collective(YamlMap map) {
  CollectiveTime time;
  time.kind = map.at("kind").one_of<CollectiveKind>(kCollectiveKindNames);
  time.purpose = map.at("purpose").one_of<CollectivePurpose>(kCollectivePurposeNames);
  time.ranks = int(map.at("ranks").integer(1, kMostRanks));
  const YamlValue nodes = map.at("nodes"), points = map.at("points");
  time.nodes = int(nodes.integer(1, time.ranks));
  map.finish();
  time.curve = read_points(points, read_bytes);
  return time;
}

MessageTime read_message(YamlMap map) {
  MessageTime time;
  time.nodes = int(map.at("nodes").integer(1, 2));
  const YamlValue points = map.at("points");
  map.finish();
  time.curve = read_points(points, read_bytes);
  return time;
}

// [times as long, spread]
Ratio read_ratio(const YamlValue& value) {
  const std::vector<YamlValue> items = value.items();
  if (items.size() != 2) value.fail("expected [slowdown, spread]");
  const double ratio = items[0].ratio();
  if (ratio < 1) items[0].fail("kernels take at least as long beside a collective as alone: 1");
  return {ratio, items[1].quantity(QuantityKind::Percentage, true)};
}

SlowdownBeside read_slowdown(YamlMap map) {
  SlowdownBeside slowdown;
  slowdown.ranks = int(map.at("ranks").integer(2, kMostRanks));
  slowdown.nodes = int(map.at("nodes").integer(1, slowdown.ranks));
  slowdown.gemm = read_ratio(map.at("gemm"));
  slowdown.copy = read_ratio(map.at("copy"));
  map.finish();
  return slowdown;
}

// The items of an optional list, each once.
template <class Item, class Same>
void read_list(YamlMap& map, std::string_view key, Item (*read)(YamlMap), const Same& is_same,
               std::vector<Item>& items) {
  const auto list = map.find(key);
  if (!list) return;
  for (const YamlValue& value : list->items()) {
    Item item = read(value.map());
    for (const Item& other : items)
      if (is_same(item, other)) value.fail("measured for the second time");
    items.push_back(std::move(item));
  }
}

}  // namespace

Profile read_profile(YamlMap map) {
  Profile profile;
  read_name(map, profile.name, profile.source);
  profile.date = map.at("date").text();
  profile.hardware = map.at("hardware").text();
  profile.software = map.at("software").text();
  if (const auto value = map.find("noise")) profile.noise = value->text();
  if (const auto value = map.find("cpu_per_byte"))
    profile.cpu_seconds_per_byte = value->quantity(QuantityKind::TimePerByte);
  if (const auto value = map.find("kernel_issue"))
    profile.kernel_issue = Seconds(value->quantity(QuantityKind::Duration));
  if (const auto value = map.find("gpu")) profile.gpu = read_gpu(value->map());
  read_list(
      map, "layers", read_layer,
      [](const LayerTime& a, const LayerTime& b) { return a.identity == b.identity; },
      profile.layers);
  read_list(
      map, "optimizers", read_optimizer,
      [](const OptimizerTime& a, const OptimizerTime& b) { return a.identity == b.identity; },
      profile.optimizers);
  read_list(
      map, "collectives", read_collective,
      [](const CollectiveTime& a, const CollectiveTime& b) {
        return a.kind == b.kind && a.purpose == b.purpose && a.ranks == b.ranks &&
               a.nodes == b.nodes;
      },
      profile.collectives);
  read_list(
      map, "messages", read_message,
      [](const MessageTime& a, const MessageTime& b) { return a.nodes == b.nodes; },
      profile.messages);
  read_list(
      map, "slowdowns", read_slowdown,
      [](const SlowdownBeside& a, const SlowdownBeside& b) {
        return a.ranks == b.ranks && a.nodes == b.nodes;
      },
      profile.slowdowns);
  map.finish();
  return profile;
}

}  // namespace windtunnel

// One GPU, or the core of a CPU.
#include "config/loaders.hpp"

namespace windtunnel {
namespace {

constexpr std::array<std::string_view, 6> kArchNames = {"volta",  "ampere",    "ada",
                                                        "hopper", "blackwell", "cpu"};

// Sizes of compute-bound kernels are FLOPs, of memory-bound ones bytes.
QuantityKind size_kind(OpClass op) {
  const bool by_flops =
      op == OpClass::Matmul || op == OpClass::Attention || op == OpClass::Convolution;
  return by_flops ? QuantityKind::FlopCount : QuantityKind::ByteSize;
}

EfficiencyCurve read_curve(YamlMap map, OpClass op) {
  EfficiencyCurve curve;
  curve.source = map.at("source").text();
  const YamlValue points = map.at("points");
  map.finish();
  for (const YamlValue& point : points.items()) {
    const std::vector<YamlValue> pair = point.items();
    if (pair.size() != 2) point.fail("expected [size, efficiency]");
    const double size = pair[0].quantity(size_kind(op));
    if (!curve.points.empty() && size <= curve.points.back().size)
      pair[0].fail("the sizes of a curve must increase");
    curve.points.push_back({size, pair[1].proportion()});
  }
  if (curve.points.empty()) points.fail("a curve needs at least one point");
  return curve;
}

void read_peaks(YamlMap map, GpuSpec& gpu) {
  for (std::size_t i = 0; i < kDTypeNames.size(); ++i)
    if (const auto peak = map.find(kDTypeNames[i]))
      gpu.peak[i] = FlopRate(peak->quantity(QuantityKind::ComputeRate));
  map.finish();
  if (map.value().node().items.empty()) map.fail("at least one peak is needed");
}

}  // namespace

GpuSpec read_gpu(YamlMap map) {
  GpuSpec gpu;
  read_name(map, gpu.name, gpu.source);
  gpu.arch = kArchNames[map.at("arch").index_in({kArchNames.begin(), kArchNames.end()})];
  gpu.memory = Bytes(map.at("memory").quantity(QuantityKind::ByteSize));
  gpu.memory_bandwidth = Rate(map.at("memory_bandwidth").quantity(QuantityKind::DataRate));
  const YamlValue peak = map.at("peak"), overhead = map.at("launch_overhead");
  const YamlValue efficiency = map.at("efficiency");
  if (const auto tdp = map.find("tdp")) gpu.tdp = Watts(tdp->quantity(QuantityKind::WattPower));
  map.finish();

  read_peaks(peak.map(), gpu);
  YamlMap launch = overhead.map();
  gpu.launch_overhead = Seconds(launch.at("value").quantity(QuantityKind::Duration, true));
  launch.at("source").text();
  launch.finish();

  YamlMap curves = efficiency.map();
  for (std::size_t i = 0; i < kOpClassNames.size(); ++i)
    if (OpClass(i) != OpClass::Fixed)
      gpu.efficiency[i] = read_curve(curves.at(kOpClassNames[i]).map(), OpClass(i));
  curves.finish();
  return gpu;
}

}  // namespace windtunnel

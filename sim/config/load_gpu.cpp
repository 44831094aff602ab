// One GPU, or the core of a CPU.
#include "config/loaders.hpp"

namespace windtunnel {
namespace {

constexpr std::array<std::string_view, 7> kArchNames = {"volta",     "ampere", "ada", "hopper",
                                                        "blackwell", "cdna",   "cpu"};

// Sizes of compute-bound kernels are FLOPs, of memory-bound ones bytes.
QuantityKind size_kind(OpClass op) {
  const bool by_flops =
      op == OpClass::Matmul || op == OpClass::Attention || op == OpClass::Convolution;
  return by_flops ? QuantityKind::FlopCount : QuantityKind::ByteSize;
}

// [m, n, efficiency]
GemmTiles::Tile read_tile(const YamlValue& value) {
  constexpr std::int64_t kLargestTile = 1024;
  const std::vector<YamlValue> items = value.items();
  if (items.size() != 3) value.fail("expected [m, n, efficiency]");
  return {int(items[0].integer(1, kLargestTile)), int(items[1].integer(1, kLargestTile)),
          items[2].proportion()};
}

// [bytes, efficiency] with falling bytes.
std::vector<GemmTiles::Alignment> read_alignments(const YamlValue& list) {
  std::vector<GemmTiles::Alignment> alignments;
  for (const YamlValue& item : list.items()) {
    const std::vector<YamlValue> pair = item.items();
    if (pair.size() != 2) item.fail("expected [bytes, efficiency]");
    const double bytes = pair[0].quantity(QuantityKind::ByteSize);
    if (!alignments.empty() && bytes >= alignments.back().bytes)
      pair[0].fail("the bytes of alignments must fall");
    alignments.push_back({bytes, pair[1].proportion()});
  }
  return alignments;
}

// A matmul by the shape of its tiles, instead of a curve.
GemmTiles read_gemm(YamlMap& map) {
  constexpr std::int64_t kMostProcessors = 1 << 16;
  GemmTiles gemm;
  gemm.processors = int(map.at("processors").integer(1, kMostProcessors));
  gemm.fill = double(map.at("fill").integer(0, kMostProcessors));
  gemm.latency = Seconds(map.at("latency").quantity(QuantityKind::Duration, true));
  if (const auto sustained = map.find("sustained")) gemm.sustained = sustained->proportion();
  if (const auto fp8 = map.find("sustained_fp8")) gemm.sustained_fp8 = fp8->proportion();
  if (const auto fp4 = map.find("sustained_fp4")) gemm.sustained_fp4 = fp4->proportion();
  if (const auto fp32 = map.find("fp32")) gemm.fp32 = fp32->proportion();
  if (const auto alignments = map.find("alignments"))
    gemm.alignments = read_alignments(*alignments);
  const YamlValue tiles = map.at("tiles");
  map.at("source").text();
  map.finish();
  for (const YamlValue& tile : tiles.items()) gemm.tiles.push_back(read_tile(tile));
  if (gemm.tiles.empty()) tiles.fail("expected at least one tile");
  return gemm;
}

// [type, m, n, k, efficiency]
MeasuredGemm read_measured_gemm(const YamlValue& value) {
  const std::vector<YamlValue> items = value.items();
  if (items.size() != 5) value.fail("expected [type, m, n, k, efficiency]");
  return {items[0].one_of<DType>(kDTypeNames), items[1].integer(1, kLargestDimension),
          items[2].integer(1, kLargestDimension), items[3].integer(1, kLargestDimension),
          items[4].proportion()};
}

EfficiencyCurve read_curve(YamlMap map, OpClass op, GpuSpec& gpu) {
  EfficiencyCurve curve;
  curve.source = map.at("source").text();
  if (op == OpClass::Matmul)
    if (const auto measured = map.find("measured"))
      for (const YamlValue& gemm : measured->items())
        gpu.measured_gemms.push_back(read_measured_gemm(gemm));
  if (op == OpClass::Matmul && map.find("tiles")) {
    gpu.gemm = read_gemm(map);
    return curve;
  }
  const YamlValue points = map.at("points");
  if (op == OpClass::Attention)
    if (const auto cudnn = map.find("cudnn")) gpu.cudnn_attention = cudnn->ratio();
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
  if (const auto limit = map.find("power_limit"))
    gpu.power_limit = Watts(limit->quantity(QuantityKind::WattPower));
  map.finish();

  read_peaks(peak.map(), gpu);
  YamlMap launch = overhead.map();
  gpu.launch_overhead = Seconds(launch.at("value").quantity(QuantityKind::Duration, true));
  launch.at("source").text();
  launch.finish();

  YamlMap curves = efficiency.map();
  for (std::size_t i = 0; i < kOpClassNames.size(); ++i)
    if (OpClass(i) != OpClass::Fixed)
      gpu.efficiency[i] = read_curve(curves.at(kOpClassNames[i]).map(), OpClass(i), gpu);
  curves.finish();
  return gpu;
}

}  // namespace windtunnel

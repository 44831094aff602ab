#include "plan/gpu_text.hpp"

#include <fmt/format.h>

namespace windtunnel {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result + '"';
}

namespace {

// Sizes of compute-bound kernels are FLOPs, of memory-bound ones bytes.
bool is_by_flops(OpClass op) {
  return op == OpClass::Matmul || op == OpClass::Attention || op == OpClass::Convolution;
}

std::string tiles_text(const GemmTiles& gemm) {
  std::string text =
      fmt::format("      processors: {}\n      fill: {:.0f}\n      latency: {:.5e} s\n",
                  gemm.processors, gemm.fill, gemm.latency.value);
  const auto add = [&text](std::string_view key, const std::optional<double>& part) {
    if (part) text += fmt::format("      {}: {:.4f}\n", key, *part);
  };
  add("sustained", gemm.sustained);
  add("sustained_fp8", gemm.sustained_fp8);
  add("sustained_fp4", gemm.sustained_fp4);
  add("fp32", gemm.fp32);
  if (!gemm.alignments.empty()) text += "      alignments:\n";
  for (const GemmTiles::Alignment& alignment : gemm.alignments)
    text += fmt::format("        - [{:.0f} B, {:.4f}]\n", alignment.bytes, alignment.efficiency);
  text += "      tiles:\n";
  for (const GemmTiles::Tile& tile : gemm.tiles)
    text += fmt::format("        - [{}, {}, {:.4f}]\n", tile.m, tile.n, tile.efficiency);
  return text;
}

std::string points_text(const EfficiencyCurve& curve, OpClass op) {
  std::string text = "      points:\n";
  for (const EfficiencyCurve::Point& point : curve.points)
    text += fmt::format("        - [{:.5e} {}, {:.4f}]\n", point.size,
                        is_by_flops(op) ? "FLOP" : "B", point.efficiency);
  return text;
}

std::string measured_text(const std::vector<MeasuredGemm>& gemms) {
  if (gemms.empty()) return "";
  std::string text = "      measured:\n";
  for (const MeasuredGemm& gemm : gemms)
    text += fmt::format("        - [{}, {}, {}, {}, {:.4f}]\n", name_of(kDTypeNames, gemm.type),
                        gemm.m, gemm.n, gemm.k, gemm.efficiency);
  return text;
}

}  // namespace

std::string gpu_text(const GpuSpec& gpu) {
  std::string text = fmt::format(
      "gpu:\n  name: {}\n  source: {}\n  arch: {}\n  memory: {:.0f} B\n"
      "  memory_bandwidth: {:.5e} B/s\n  peak:\n",
      quoted(gpu.name), quoted(gpu.source), gpu.arch, gpu.memory.value, gpu.memory_bandwidth.value);
  for (std::size_t i = 0; i < gpu.peak.size(); ++i)
    if (gpu.peak[i])
      text += fmt::format("    {}: {:.5e} FLOP/s\n", kDTypeNames[i], gpu.peak[i]->value);
  if (gpu.tdp) text += fmt::format("  tdp: {:.5g} W\n", gpu.tdp->value);
  if (gpu.power_limit) text += fmt::format("  power_limit: {:.5g} W\n", gpu.power_limit->value);
  text += fmt::format("  launch_overhead: {{value: {:.5e} s, source: {}}}\n  efficiency:\n",
                      gpu.launch_overhead.value, quoted(gpu.source));
  for (std::size_t i = 0; i < gpu.efficiency.size(); ++i) {
    const auto op = OpClass(i);
    if (op == OpClass::Fixed) continue;
    const EfficiencyCurve& curve = gpu.efficiency[i];
    const bool has_tiles = op == OpClass::Matmul && !gpu.gemm.tiles.empty();
    text += fmt::format("    {}:\n      source: {}\n", kOpClassNames[i], quoted(curve.source));
    if (op == OpClass::Attention && gpu.cudnn_attention != 1)
      text += fmt::format("      cudnn: {:.5g}\n", gpu.cudnn_attention);
    text += has_tiles ? tiles_text(gpu.gemm) : points_text(curve, op);
    if (op == OpClass::Matmul) text += measured_text(gpu.measured_gemms);
  }
  return text;
}

}  // namespace windtunnel

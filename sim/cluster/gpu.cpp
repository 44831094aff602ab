#include "cluster/gpu.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.hpp"
#include "cluster/measured_gemms.hpp"

namespace windtunnel {

double EfficiencyCurve::at(double size) const {
  SIM_CHECK(!points.empty(), "an efficiency curve needs a point");
  const auto above = std::find_if(points.begin(), points.end(),
                                  [size](const Point& point) { return size < point.size; });
  if (above == points.begin()) return points.front().efficiency;
  if (above == points.end()) return points.back().efficiency;
  const Point& low = *std::prev(above);
  const double part = std::log(size / low.size) / std::log(above->size / low.size);
  return low.efficiency + part * (above->efficiency - low.efficiency);
}

namespace {

const EfficiencyCurve& curve(const GpuSpec& gpu, OpClass op) {
  return gpu.efficiency[static_cast<std::size_t>(op)];
}

bool is_by_flops(OpClass op) {
  return op == OpClass::Matmul || op == OpClass::Attention || op == OpClass::Convolution;
}

double ceil_div(double a, double b) {
  return std::ceil(a / b);
}

// Parts of a split k each write fp32 sums that one more pass reads.
Seconds split_time(const GpuSpec& gpu, const Work& work, double batch, int split) {
  if (split == 1) return Seconds(0);
  const double sums = batch * double(work.m) * double(work.n) * split;
  return Bytes(2 * bytes_of(DType::Fp32) * sums) / gpu.memory_bandwidth;
}

// Against what the tiles say. Convolutions are gathered into tiles, wherever their rows start.
double type_efficiency(const GemmTiles& gemm, const Work& work, DType type) {
  if (type == DType::Fp32 && gemm.fp32) {
    double most = 0;
    for (const GemmTiles::Tile& tile : gemm.tiles) most = std::max(most, tile.efficiency);
    return *gemm.fp32 / most;
  }
  if (gemm.alignments.empty() || work.op != OpClass::Matmul) return 1;
  const std::int64_t any = work.m | work.n | work.k;
  const double bytes = double(any & -any) * bytes_of(type);
  for (const GemmTiles::Alignment& alignment : gemm.alignments)
    if (bytes >= alignment.bytes) return alignment.efficiency;
  return gemm.alignments.back().efficiency;
}

FlopRate sixteen_bit_peak(const GpuSpec& gpu, FlopRate otherwise) {
  for (const DType type : {DType::Bf16, DType::Fp16})
    if (const auto& peak = gpu.peak[static_cast<std::size_t>(type)]) return *peak;
  return otherwise;
}

double sustained_part(const GemmTiles& gemm, DType type) {
  if (type == DType::Fp8) return gemm.sustained_fp8.value_or(gemm.sustained);
  if (type == DType::Fp4) return gemm.sustained_fp4.value_or(gemm.sustained);
  return gemm.sustained;
}

// Kernels run one after another, each with its part of the batch.
Seconds tiled_time(const GpuSpec& gpu, const Work& work, DType type) {
  constexpr std::array<int, 6> kSplits = {1, 2, 4, 8, 16, 32};
  constexpr double kShallowest = 256;  // a part of k is at least so deep
  const GemmTiles& gemm = gpu.gemm;
  const FlopRate peak = *gpu.peak[static_cast<std::size_t>(type)];
  // The fill is a time, counted in steps of 16-bit operands: slower formats do fewer steps
  // meanwhile.
  const double fill = gemm.fill * (peak / sixteen_bit_peak(gpu, peak));
  const FlopRate each = peak / gemm.processors * type_efficiency(gemm, work, type);
  const double batch = double(work.batch) / work.kernels;
  std::optional<Seconds> best;
  for (const GemmTiles::Tile& tile : gemm.tiles)
    for (const auto& [m, n] : {std::pair(tile.m, tile.n), std::pair(tile.n, tile.m)})
      for (const int split : kSplits) {
        const double depth = ceil_div(double(work.k), split);
        if (split > 1 && depth < kShallowest) break;
        const double tiles =
            ceil_div(double(work.m), m) * ceil_div(double(work.n), n) * batch * split;
        const Flops wave(2.0 * m * n * (depth + fill));
        const Seconds time = gemm.latency +
                             ceil_div(tiles, gemm.processors) * (wave / (each * tile.efficiency)) +
                             split_time(gpu, work, batch, split);
        best = best ? std::min(*best, time) : time;
      }
  return work.kernels * *best;
}

Seconds sustained_time(const GpuSpec& gpu, const Work& work, DType type) {
  const FlopRate peak = *gpu.peak[static_cast<std::size_t>(type)];
  return work.flops / (peak * (sustained_part(gpu.gemm, type) * clock_under_limit(gpu)));
}

Seconds curve_time(const GpuSpec& gpu, const Work& work, DType type) {
  const FlopRate peak = *gpu.peak[static_cast<std::size_t>(type)];
  const double size = is_by_flops(work.op) ? work.flops.value : work.bytes.value;
  const double efficiency = curve(gpu, work.op).at(size / work.kernels) * work.efficiency;
  return work.flops / (peak * (efficiency * (work.is_cudnn ? gpu.cudnn_attention : 1)));
}

Seconds compute_time(const GpuSpec& gpu, const Work& work, DType type) {
  if (work.flops.value <= 0) return Seconds(0);
  const auto& peak = gpu.peak[static_cast<std::size_t>(type)];
  SIM_CHECK(peak.has_value(),
            gpu.name + " has no peak for " + std::string(name_of(kDTypeNames, type)));
  const bool has_tiles = work.m > 0 && !gpu.gemm.tiles.empty();
  const auto modelled = [&](const Work& any) {
    return has_tiles ? tiled_time(gpu, any, type) / any.efficiency : curve_time(gpu, any, type);
  };
  Seconds time = modelled(work);
  // What has an efficiency of its own is no library's GEMM.
  if (work.op == OpClass::Matmul && work.efficiency == 1 && !gpu.measured_gemms.empty())
    time = time * measured_over_modelled(gpu.measured_gemms, work, type, *peak, modelled);
  return has_tiles ? std::max(time, sustained_time(gpu, work, type)) : time;
}

Seconds memory_time(const GpuSpec& gpu, const Work& work) {
  if (work.bytes.value <= 0) return Seconds(0);
  const OpClass op = is_by_flops(work.op) ? OpClass::Elementwise : work.op;
  return work.bytes / (gpu.memory_bandwidth * curve(gpu, op).at(work.bytes.value / work.kernels));
}

// Of what a GEMM moves to add to a sum, the part that its tiles do not hide: mean of 25 pairs of
// GEMMs with and without (tests/data/gemm_sums.csv), 0.84 on B200 and 0.57 on A100-PCIe.
constexpr double kExposedSums = 0.75;

Seconds sums_time(const GpuSpec& gpu, const Work& work) {
  if (work.sums.value <= 0) return Seconds(0);
  return kExposedSums * (work.sums / gpu.memory_bandwidth);
}

}  // namespace

double clock_under_limit(const GpuSpec& gpu) {
  constexpr double kExponent = 0.9;
  if (!gpu.power_limit || !gpu.tdp) return 1;
  return std::min(1.0, std::pow(gpu.power_limit->value / gpu.tdp->value, kExponent));
}

Seconds kernel_time(const GpuSpec& gpu, const Work& work, DType type) {
  if (work.op == OpClass::Fixed) return work.duration;
  SIM_CHECK(work.kernels >= 1, "a work has at least one kernel");
  return double(work.kernels) * gpu.launch_overhead + sums_time(gpu, work) +
         std::max(compute_time(gpu, work, work.format.value_or(type)), memory_time(gpu, work));
}

}  // namespace windtunnel

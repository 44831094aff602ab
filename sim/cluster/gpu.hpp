// One GPU (or one CPU rank) and how long a kernel takes on it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.hpp"
#include "base/work.hpp"

namespace windtunnel {

// Part of the peak that a kernel reaches, by its size: interpolated in log(size) between points,
// constant beyond the ends. Invariant: at least one point, sizes increase, efficiencies in (0, 1].
struct EfficiencyCurve {
  struct Point {
    double size = 0;  // FLOPs for Matmul, Attention, Convolution; bytes for the others
    double efficiency = 1;
  };
  std::vector<Point> points;
  std::string source;
  double at(double size) const;
};

// How a library cuts C[m,n] into tiles, one for each processor at a time: the GEMMs of a GPU by
// shape. `efficiency` is the part of a processor's peak that the main loop of such a tile reaches.
// A wave of tiles costs the time of `fill` steps of k in a 16-bit format besides its own (first
// operands, writing C), a GEMM `latency` besides its waves. Tiles may lie either way round.
// `sustained`: the part of the GPU's peak that large GEMMs hold for seconds, when the power limit
// lowers the clock. `alignments`: the part of the main loop's speed that is left where rows of the
// operands start at multiples of so many bytes only; of the last one below them too. `fp32`: what
// the largest tile reaches on the cores without matrix units, which run fp32, whatever the
// alignment; the other tiles keep their ratios to it.
struct GemmTiles {
  struct Tile {
    int m = 0, n = 0;
    double efficiency = 1;
  };
  int processors = 0;  // streaming multiprocessors
  double fill = 0;
  Seconds latency;
  double sustained = 1;
  std::optional<double> sustained_fp8, sustained_fp4;  // absent: as the others
  std::optional<double> fp32;
  struct Alignment {
    double bytes = 0, efficiency = 1;
  };
  std::vector<Alignment> alignments;  // falling; empty: any alignment is as good
  std::vector<Tile> tiles;            // empty: matmuls follow the efficiency curve
};

// C[m,n] += A[m,k] B[k,n] as it was measured, alone on the GPU.
struct MeasuredGemm {
  DType type = DType::Bf16;
  std::int64_t m = 0, n = 0, k = 0;
  double efficiency = 1;  // part of the type's peak, the launch not counted; in (0, 1]
  bool operator==(const MeasuredGemm&) const = default;
};

struct GpuSpec {
  std::string name;
  std::string source;
  std::string arch;  // volta, ampere, ada, hopper, blackwell, cdna, cpu
  Bytes memory;
  Rate memory_bandwidth;                                         // datasheet
  std::array<std::optional<FlopRate>, kDTypeNames.size()> peak;  // dense, by DType
  std::array<EfficiencyCurve, kOpClassNames.size()> efficiency;  // by OpClass; Fixed has none
  GemmTiles gemm;
  // Correct what tiles, or the curve, say of a matmul (measured_gemms.hpp); empty: nothing does.
  std::vector<MeasuredGemm> measured_gemms;
  double cudnn_attention = 1;  // speed of cuDNN's attention in that of the Attention curve's kernel
  Seconds launch_overhead;     // of the stream, per kernel
  std::optional<Watts> tdp;
  std::optional<Watts> power_limit;  // below the TDP, set by whoever runs the GPU
};

// What GEMMs sustain under the power limit, relative to `sustained` at the TDP: (limit / TDP)^0.9,
// the mean of four pairs of measurements (tests/data/power_limits.csv). The power of CMOS logic
// goes with frequency times voltage squared; under a limit the voltage is near its floor, and what
// is left is close to linear. 1 without a limit or a TDP.
double clock_under_limit(const GpuSpec& gpu);

// Roofline with efficiencies: kernels * launch + max(flops / (peak * e), bytes / (bandwidth *
// e_bytes)). A matmul on a GPU with tiles takes the fastest of them, k split in up to 32 parts, and
// a convolution as the GEMM of its shape:
//   latency + ceil(tiles / processors) * 2 m' n' (k' + fill') / (peak / processors * e),
// and no less than flops / (peak * sustained). `e` includes the efficiency of the alignment: the
// largest power of two that divides m, n and k, in bytes (rows may run along any two of them).
// Where GEMMs were measured, the time of either model is multiplied by what they took of their own
// modelled times. Elsewhere `e` is the curve of the operation's class, times
// `cudnn_attention` for attention by cuDNN; e_bytes the Elementwise curve (for
// Optimizer and Embedding their own). A work's own format goes before `type`. Curves are read at
// the size of one kernel: a work of 10 kernels has kernels of a tenth of its FLOPs and bytes, and
// GEMMs of several kernels follow one another, each with its part of the batch. A Fixed work takes
// its duration. Requires a peak for `type` when flops > 0.
Seconds kernel_time(const GpuSpec& gpu, const Work& work, DType type);

}  // namespace windtunnel

// What calibration measured on a machine.
//
// Every figure is the median of its repetitions, with their spread (p90 - p10) / median.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "base/work.hpp"
#include "cluster/gpu.hpp"

namespace windtunnel {

struct Figure {
  Seconds time;
  double spread = 0;
  bool operator==(const Figure&) const = default;
};

// Times at growing sizes. Between points straight lines; constant below the first, proportional to
// the size beyond the last. No latency plus bytes over bandwidth: over loopback that form is up to
// 45 % off, because caches and segments bend the line.
struct MeasuredCurve {
  struct Point {
    double size = 0;
    Figure figure;
    bool operator==(const Point&) const = default;
  };
  std::vector<Point> points;  // not empty
  Seconds at(double size) const;
  bool operator==(const MeasuredCurve&) const = default;
};

// In ActionType's order.
inline constexpr std::array<std::string_view, 4> kPassNames = {"forward", "backward",
                                                               "input_gradient", "weight_gradient"};

// All that decides how long a layer takes, as text: equal texts, equal times.
struct LayerIdentity {
  std::string model;  // the family and its parameters, but how often layers repeat
  std::string layer;  // kind and sizes of tensors
  std::string slice;  // micro-batch, tensor degree, types, kernels
  auto operator<=>(const LayerIdentity&) const = default;
};

// What a layer that was not measured takes is read off those of its kin, which differ in sizes
// alone.
struct LayerKin {
  std::string name;
  double size = 0;  // FLOPs of the forward pass on this rank; bytes where it has none
  bool operator==(const LayerKin&) const = default;
};

// One micro-batch of a layer, accumulation of gradients and what is computed again included,
// collectives not.
struct LayerTime {
  LayerIdentity identity;
  LayerKin kin;
  std::array<std::optional<Figure>, kPassNames.size()> passes;
  bool operator==(const LayerTime&) const = default;
};

// The end of a step, by parameters that a rank holds.
struct OptimizerTime {
  std::string identity;  // optimizer_identity
  MeasuredCurve update;
  std::optional<MeasuredCurve> norm;  // of the gradients, for clipping
  bool operator==(const OptimizerTime&) const = default;
};

// Plain: the collective by itself. Gradients, Weights: with what a data-parallel rank does to the
// result besides (dividing sums by the ranks, adding them to a shard; copying gathered weights to
// their place).
enum class CollectivePurpose { Plain, Gradients, Weights };
inline constexpr std::array<std::string_view, 3> kCollectivePurposeNames = {"plain", "gradients",
                                                                            "weights"};

// By bytes as collectives/ counts them.
struct CollectiveTime {
  CollectiveKind kind = CollectiveKind::AllReduce;
  CollectivePurpose purpose = CollectivePurpose::Plain;
  int ranks = 2;
  int nodes = 1;  // over which the ranks are spread
  MeasuredCurve curve;
  bool operator==(const CollectiveTime&) const = default;
};

// One message from rank to rank, by bytes.
struct MessageTime {
  int nodes = 1;  // 2: between nodes
  MeasuredCurve curve;
  bool operator==(const MessageTime&) const = default;
};

struct Ratio {
  double value = 1;
  double spread = 0;
  bool operator==(const Ratio&) const = default;
};

// How many times as long kernels take while a collective of such a group runs beside them.
struct SlowdownBeside {
  int ranks = 2;
  int nodes = 1;
  Ratio gemm;  // and whatever else arithmetic binds
  Ratio copy;  // and whatever else memory binds
  bool operator==(const SlowdownBeside&) const = default;
};

struct Profile {
  std::string name, source, date, hardware, software;
  std::string noise;           // why the machine was not quiet; empty: it was
  std::optional<GpuSpec> gpu;  // in place of the topology's of the same arch
  std::vector<LayerTime> layers;
  std::vector<OptimizerTime> optimizers;
  std::vector<CollectiveTime> collectives;
  std::vector<MessageTime> messages;
  std::vector<SlowdownBeside> slowdowns;
  std::optional<double> cpu_seconds_per_byte;  // as Communication has it
  std::optional<Seconds> kernel_issue;         // Host::kernel of jobs on GPUs that say none
};

// As load_profile reads it: the same profile, the same bytes.
std::string to_yaml(const Profile& profile);

}  // namespace windtunnel

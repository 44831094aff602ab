// The numbers behind the rows of sweep.csv: speed-up, efficiency, the knee and the cheapest point.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands/csv.hpp"

namespace windtunnel {

using Number = std::optional<double>;

// One row. Speed-up is throughput over that of the first row of its series that ran; efficiency,
// where `gpus` is varied, the same per GPU: for strong scaling (the batch stays) the speed-up over
// the factor of GPUs, for weak scaling (the batch grows with them) the step time of the first row
// over this one's.
struct SweepPoint {
  std::vector<std::string> values;  // of the varied keys; files by their stem
  std::string status, reason;
  Number gpus, batch;       // samples of a step
  Number step, throughput;  // s; tokens (samples) per s
  Number mfu, bubble;       // parts of 1
  Number memory, capacity;  // bytes of the fullest GPU
  Number usd;               // for a million tokens (samples)
  Number speed_up, efficiency;
  bool ran() const { return step && throughput && *step > 0 && *throughput > 0; }
  // What a token (sample) costs; without a price the GPU time that it takes, in GPU-seconds.
  double cost() const { return usd ? *usd / 1e6 : *gpus / *throughput; }
};

enum class Scaling { Strong, Weak, Neither };  // the batch stays, grows with the GPUs, or neither

// Rows that differ only in the number of GPUs and in what goes with it.
struct SweepSeries {
  std::string name;                 // "parallel.zero_stage 1"; empty if there is only one
  std::vector<std::size_t> points;  // those that ran, in order of rows
  Scaling scaling = Scaling::Neither;
  std::size_t knee = 0;  // of these, the most GPUs with an efficiency of at least kKnee
  bool is_knee_largest = false;
};
inline constexpr double kKnee = 0.8;

struct SweepPoints {
  std::vector<std::string> keys;
  // Indices of the keys that tell points apart: no other keys before them determine their values.
  std::vector<std::size_t> naming;
  std::vector<SweepPoint> points;
  std::vector<SweepSeries> series;  // with points that ran; one alone where `gpus` is not varied
  std::optional<std::size_t> cheapest;
  bool counts_tokens = false, has_price = false, varies_gpus = false;
  std::string_view unit() const { return counts_tokens ? "tokens" : "samples"; }
  std::string name_of(std::size_t point) const;  // "gpus 64, parallel.zero_stage 1"
};

// From what sweep.csv says: `header` has the varied keys before the columns of sweep_columns().
SweepPoints sweep_points(const CsvRow& header, const std::vector<CsvRow>& rows);

}  // namespace windtunnel

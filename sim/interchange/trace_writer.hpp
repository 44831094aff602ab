// What a picture of a step consists of, whatever the file's form: slices on threads of processes,
// arrows between slices, counters over time.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/units.hpp"

namespace windtunnel {

// Whole picoseconds: spans that touch still touch after rounding, because ends are rounded and
// durations are differences of rounded times.
using Picoseconds = std::int64_t;
inline Picoseconds rounded(Seconds time) {
  return std::llround(time.value * 1e12);
}

struct SliceArgument {
  std::string_view key;                                   // static text
  std::variant<std::int64_t, double, std::string> value;  // a double is in microseconds
};

struct TraceSlice {
  int process = 0, thread = 0;
  Picoseconds start = 0, end = 0;
  std::string name;
  std::string_view category;  // static text
  std::vector<SliceArgument> arguments;
  std::vector<int> arrows_out, arrows_in;  // arrows that begin and end here, by number
};

struct CounterValue {
  std::string_view series;  // static text
  double value = 0;
};

class TraceWriter {
 public:
  virtual ~TraceWriter() = default;
  // Before anything of it. Processes are shown in the order of `place`.
  virtual void process(int process, int place, const std::string& name) = 0;
  virtual void thread(int process, int thread, const std::string& name) = 0;
  // Slices of one thread do not overlap and come in the order of their starts.
  virtual void slice(const TraceSlice& slice) = 0;
  // All series of a counter of a process, in the order of time. `unit` is "bytes" or "%".
  virtual void counter(int process, std::string_view name, std::string_view unit, Picoseconds time,
                       std::span<const CounterValue> values) = 0;
};

}  // namespace windtunnel

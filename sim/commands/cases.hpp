// What --vary says, as the list of cases of a sweep.
//
//     parallel.zero_stage=0,1,2,3                          one key, four values
//     cluster=a.yaml,b.yaml                                values in YAML, as --set takes them
//     parallel.layers_per_stage=[3,5],[4,4]                commas inside brackets or quotes do not
//     part gpus,parallel.data=64:8,128:16                       keys that go together, values with
//     ':' batch.global=64..1024*2                              64, 128, ... 1024
//     gpus,parallel.data=64..256*2:8..32*2                 ranges of equal length go together
//
// A range is first..last, first..last+step or first..last*factor, of whole numbers.
#pragma once

#include <string>
#include <vector>

namespace windtunnel {

// One --vary.
struct Axis {
  std::vector<std::string> keys;
  std::vector<std::vector<std::string>> points;  // each with one value for every key
};

// Throws ConfigError.
Axis parsed_axis(const std::string& option);

struct SweepCase {
  std::vector<std::size_t> points;  // by axis
  std::vector<std::string> values;  // of all keys of all axes, in order
};

inline constexpr std::size_t kMostCases = 100'000;

std::vector<std::string> keys_of(const std::vector<Axis>& axes);
// All combinations; the last axis runs fastest. Throws ConfigError if there are too many or a key
// is varied twice.
std::vector<SweepCase> cases_of(const std::vector<Axis>& axes);
// "key=value" for every key.
std::vector<std::string> overrides_of(const std::vector<Axis>& axes, const SweepCase& sweep_case);

}  // namespace windtunnel

// What two runs differ in: numbers of their reports, inputs, and the time by cause.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "commands/run_files.hpp"

namespace windtunnel {

// Times as whole multiples of a quantum, so that sums are exact.
struct Cause {
  std::string name;
  std::int64_t a = 0, b = 0;
  std::int64_t difference() const { return b - a; }
};

// By cause, in the order of A; causes that only B knows come last. They sum to the step times in
// whole quanta (s each).
std::vector<Cause> causes_of(const TimeParts& a, double step_a, const TimeParts& b, double step_b,
                             double quantum);
Cause sum_of(const std::vector<Cause>& causes);
std::int64_t quanta_of(double seconds, double quantum);

// One line of the headline: a number of report.json and how people read it.
struct Headline {
  std::string_view name, place;
  std::string (*text)(double);
};
std::span<const Headline> headlines();

// At a place of report.json, or of a headline; null if it is not there.
nlohmann::ordered_json value_at(const nlohmann::ordered_json& report, std::string_view place);

// Keys below `inputs` whose values differ.
struct InputDifference {
  std::string key;
  nlohmann::ordered_json a, b;
};
std::vector<InputDifference> input_differences(const RunFiles& a, const RunFiles& b);

}  // namespace windtunnel

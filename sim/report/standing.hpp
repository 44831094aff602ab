// How far a prediction can be trusted: whether the job is like what its profile was calibrated on
// and like runs that were published, and how far predictions of such runs were off.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "report/run_classes.hpp"

namespace windtunnel {

// NotNeeded: the model says itself how long its kernels take.
enum class Calibrated { Inside, Outside, NotNeeded };
inline constexpr std::array<std::string_view, 3> kCalibratedNames = {"inside", "outside",
                                                                     "not needed"};

// The predicted step time times the p10 and p90 of published / predicted. With no runs there is
// none, and `of` says why.
struct StepInterval {
  int runs = 0;
  Seconds p10, p90;
  std::string of;  // "published pipeline-parallel runs on this card"
};

struct Standing {
  Calibrated calibrated = Calibrated::Inside;
  std::vector<std::string> outside;  // each way in which it is, for people
  StepInterval interval;
};

// Less of the kernel time than this outside its curve does not put a job outside: a factor of 2 on
// it moves the step by as much as one configuration differs when it is run twice (up to 0.8 %,
// validation/published/README.md).
inline constexpr double kLeastShare = 0.01;

Standing standing(const Job& job, const Plan& plan, Seconds step_time,
                  std::span<const RunClass> classes = published_classes());

}  // namespace windtunnel

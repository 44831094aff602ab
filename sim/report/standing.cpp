#include "report/standing.hpp"

#include "report/format.hpp"
#include "report/kernel_ranges.hpp"

namespace windtunnel {

namespace {

void add_kernels(const std::vector<KernelRange>& ranges, bool is_mixed,
                 std::vector<std::string>& outside) {
  for (const KernelRange& range : ranges) {
    if (range.op == OpClass::Fixed) continue;
    const auto add = [&](double share, std::string_view how) {
      if (share < kLeastShare) return;
      outside.push_back(fmt::format("{} of kernel time{}: {} kernels {}", readable_share(share),
                                    is_mixed ? " on " + range.gpu->name : "",
                                    name_of(kOpClassNames, range.op), how));
    };
    add(range.below, "smaller than calibrated");
    add(range.above, "larger than calibrated");
    add(range.constant, "calibrated at one size");
  }
}

bool rests_on_profile(const std::vector<KernelRange>& ranges) {
  for (const KernelRange& range : ranges)
    if (range.op != OpClass::Fixed) return true;
  return false;
}

}  // namespace

Standing standing(const Job& job, const Plan& plan, Seconds step_time,
                  std::span<const RunClass> classes) {
  const std::vector<KernelRange> kernels = kernel_ranges(job, plan);
  if (!rests_on_profile(kernels))
    return {.calibrated = Calibrated::NotNeeded,
            .interval = {.of = "the model gives its own times, so no published run is like it"}};
  Standing result;
  const RunTraits traits = run_traits(job);
  const int on_card = runs_on_card(traits.card, classes);
  if (const RunClass* found = class_of(traits, classes)) {
    result.interval = {.runs = found->runs,
                       .p10 = step_time * found->p10,
                       .p90 = step_time * found->p90,
                       .of = class_text(*found, on_card)};
    if (found->card.empty())
      result.outside.push_back(
          fmt::format("{} published runs on this card, fewer than {}", on_card, kLeastRuns));
    for (std::string& reason : unlike(traits, *found)) result.outside.push_back(std::move(reason));
  } else {
    result.interval.of = traits.card.empty() ? "no published run on such a mix of cards"
                                             : "no published run on this card";
    result.outside.push_back(result.interval.of);
  }
  add_kernels(kernels, traits.card.empty(), result.outside);
  if (!result.outside.empty()) result.calibrated = Calibrated::Outside;
  return result;
}

}  // namespace windtunnel

#include "report/kernel_ranges.hpp"
#include "report/page_parts.hpp"

namespace windtunnel {

nlohmann::ordered_json calibration_json(const Job& job, const Plan& plan) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const KernelRange& range : kernel_ranges(job, plan)) {
    const EfficiencyCurve& curve = range.gpu->efficiency[std::size_t(range.op)];
    const bool is_curve = curve.points.size() > 1;
    list.push_back({{"gpu", range.gpu->name},
                    {"class", name_of(kOpClassNames, range.op)},
                    {"unit", is_by_flops(range.op) ? "FLOP" : "B"},
                    {"from", is_curve ? Json(curve.points.front().size) : Json(nullptr)},
                    {"to", is_curve ? Json(curve.points.back().size) : Json(nullptr)},
                    {"share", range.share},
                    {"inside", range.inside},
                    {"below", range.below},
                    {"above", range.above},
                    {"constant", range.constant},
                    {"source", curve.source}});
  }
  return list;
}

}  // namespace windtunnel

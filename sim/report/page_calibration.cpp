#include <algorithm>
#include <array>

#include "report/page_parts.hpp"
#include "report/placement.hpp"

namespace windtunnel {

namespace {

using Json = nlohmann::ordered_json;

// Kernel time of one class, by where the kernels' sizes lie on its efficiency curve.
struct ClassTime {
  Seconds inside, below, above;
  Seconds constant;  // the curve is one number for all sizes
  Seconds total() const { return inside + below + above + constant; }
};
using TimeByClass = std::array<ClassTime, kOpClassNames.size()>;

bool is_by_flops(OpClass op) {
  return op == OpClass::Matmul || op == OpClass::Attention || op == OpClass::Convolution;
}

void add_work(const Work& work, const GpuSpec& gpu, DType type, double times, TimeByClass& sums) {
  ClassTime& sum = sums[std::size_t(work.op)];
  const Seconds time = kernel_time(gpu, work, type) * times;
  const std::vector<EfficiencyCurve::Point>& points = gpu.efficiency[std::size_t(work.op)].points;
  const double size = (is_by_flops(work.op) ? work.flops.value : work.bytes.value) / work.kernels;
  const bool has_tiles = work.m > 0 && !gpu.gemm.tiles.empty();  // any shape has its tiles
  if (!has_tiles && points.size() < 2)
    sum.constant += time;
  else if (!has_tiles && size < points.front().size)
    sum.below += time;
  else if (!has_tiles && size > points.back().size)
    sum.above += time;
  else
    sum.inside += time;
}

// By block: how often all pipeline coordinates together run it.
std::vector<double> uses_of_blocks(const Plan& plan) {
  std::vector<double> uses(plan.blocks.size());
  for (const Program& program : plan.programs)
    for (const Op& op : program.ops)
      if (op.kind == OpKind::Compute && op.block >= 0) ++uses[std::size_t(op.block)];
  return uses;
}

}  // namespace

nlohmann::ordered_json calibration_json(const Job& job, const Plan& plan) {
  const std::vector<double> uses = uses_of_blocks(plan);
  Json list = Json::array();
  for (const GpuSpec* gpu : gpu_types(job)) {
    TimeByClass sums;
    for (std::size_t block = 0; block < plan.blocks.size(); ++block)
      for (const BlockPiece& piece : plan.blocks[block])
        if (const Work* work = std::get_if<Work>(&piece.piece.what))
          add_work(*work, *gpu, plan.type, uses[block], sums);
    Seconds all;
    for (const ClassTime& sum : sums) all += sum.total();
    for (std::size_t op = 0; op < sums.size(); ++op) {
      if (sums[op].total() <= Seconds(0)) continue;
      const EfficiencyCurve& curve = gpu->efficiency[op];
      const bool is_curve = curve.points.size() > 1;
      list.push_back({{"gpu", gpu->name},
                      {"class", kOpClassNames[op]},
                      {"unit", is_by_flops(OpClass(op)) ? "FLOP" : "B"},
                      {"from", is_curve ? Json(curve.points.front().size) : Json(nullptr)},
                      {"to", is_curve ? Json(curve.points.back().size) : Json(nullptr)},
                      {"share", sums[op].total() / all},
                      {"inside", sums[op].inside / all},
                      {"below", sums[op].below / all},
                      {"above", sums[op].above / all},
                      {"constant", sums[op].constant / all},
                      {"source", curve.source}});
    }
  }
  return list;
}

}  // namespace windtunnel

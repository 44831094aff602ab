#include "report/kernel_ranges.hpp"

#include <array>

#include "report/placement.hpp"

namespace windtunnel {

namespace {

// Kernel time of one class, by where the kernels' sizes lie on its efficiency curve.
struct ClassTime {
  Seconds inside, below, above, constant;
  Seconds total() const { return inside + below + above + constant; }
};
using TimeByClass = std::array<ClassTime, kOpClassNames.size()>;

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

TimeByClass times_on(const GpuSpec& gpu, const Plan& plan, const std::vector<double>& uses) {
  TimeByClass sums;
  for (std::size_t block = 0; block < plan.blocks.size(); ++block)
    for (const BlockPiece& piece : plan.blocks[block])
      if (const Work* work = std::get_if<Work>(&piece.piece.what))
        add_work(*work, gpu, plan.type, uses[block], sums);
  return sums;
}

}  // namespace

bool is_by_flops(OpClass op) {
  return op == OpClass::Matmul || op == OpClass::Attention || op == OpClass::Convolution;
}

std::vector<KernelRange> kernel_ranges(const Job& job, const Plan& plan) {
  const std::vector<double> uses = uses_of_blocks(plan);
  std::vector<KernelRange> ranges;
  for (const GpuSpec* gpu : gpu_types(job)) {
    const TimeByClass sums = times_on(*gpu, plan, uses);
    Seconds all;
    for (const ClassTime& sum : sums) all += sum.total();
    for (std::size_t op = 0; op < sums.size(); ++op)
      if (const ClassTime& sum = sums[op]; sum.total() > Seconds(0))
        ranges.push_back({.gpu = gpu,
                          .op = OpClass(op),
                          .share = sum.total() / all,
                          .inside = sum.inside / all,
                          .below = sum.below / all,
                          .above = sum.above / all,
                          .constant = sum.constant / all});
  }
  return ranges;
}

}  // namespace windtunnel

#include "cluster/measured_gemms.hpp"

#include <algorithm>
#include <cmath>

namespace windtunnel {

namespace {

constexpr std::size_t kNeighbours = 8;
constexpr double kWidestLoad = 16;  // bytes

// At a multiple of how many bytes every row of the operands starts, whichever way they lie.
double alignment(std::int64_t m, std::int64_t n, std::int64_t k, DType type) {
  const std::int64_t any = m | n | k;
  return std::min(double(any & -any) * bytes_of(type), kWidestLoad);
}

std::vector<const MeasuredGemm*> kin_of(const std::vector<MeasuredGemm>& measured, const Work& work,
                                        DType type) {
  std::vector<const MeasuredGemm*> all, aligned;
  for (const MeasuredGemm& gemm : measured) {
    if (gemm.type != type) continue;
    all.push_back(&gemm);
    if (alignment(gemm.m, gemm.n, gemm.k, type) == alignment(work.m, work.n, work.k, type))
      aligned.push_back(&gemm);
  }
  return aligned.empty() ? all : aligned;
}

struct Neighbour {
  double distance = 0;  // squared
  const MeasuredGemm* gemm = nullptr;
};

std::vector<Neighbour> neighbours(const std::vector<MeasuredGemm>& measured, const Work& work,
                                  DType type) {
  const double rows = double(work.m) * double(work.batch) / work.kernels;
  const auto apart = [](double a, double b) { return std::pow(std::log(a / b), 2); };
  std::vector<Neighbour> all;
  for (const MeasuredGemm* gemm : kin_of(measured, work, type))
    all.push_back({apart(rows, double(gemm->m)) + apart(double(work.n), double(gemm->n)) +
                       apart(double(work.k), double(gemm->k)),
                   gemm});
  // As they were listed where they are as far.
  std::ranges::stable_sort(all, {}, &Neighbour::distance);
  if (all.size() > kNeighbours) all.resize(kNeighbours);
  return all;
}

}  // namespace

double measured_over_modelled(const std::vector<MeasuredGemm>& measured, const Work& work,
                              DType type, FlopRate peak,
                              const std::function<Seconds(const Work&)>& modelled) {
  const auto factor = [&](const MeasuredGemm& gemm) {
    const Work alone = matmul(gemm.m, gemm.n, gemm.k, type);
    return alone.flops / (peak * gemm.efficiency) / modelled(alone);
  };
  double weights = 0, sum = 0;
  for (const auto& [distance, gemm] : neighbours(measured, work, type)) {
    if (distance == 0) return factor(*gemm);
    weights += 1 / distance;
    sum += std::log(factor(*gemm)) / distance;
  }
  return weights > 0 ? std::exp(sum / weights) : 1;
}

}  // namespace windtunnel

#include "commands/validate_null.hpp"

#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "commands/validate_statistics.hpp"

namespace windtunnel {
namespace {

// Terms are in seconds at these round rates, so that the equations are well conditioned.
constexpr double kTensorRate = 100e9, kNetworkRate = 10e9, kKernelSeconds = 1e-6;

struct BlockCosts {
  double flops = 0, tensor_bytes = 0, kernels = 0;
};

void add_pieces(const std::vector<Piece>& pieces, BlockCosts& costs) {
  for (const Piece& piece : pieces) {
    if (const auto* work = std::get_if<Work>(&piece.what)) costs.kernels += work->kernels;
    if (const auto* collective = std::get_if<LayerCollective>(&piece.what))
      costs.tensor_bytes += collective->size.value;
  }
}

BlockCosts costs_of(const Job& job, int layer) {
  const LayerWork work = layer_work(job.model, layer, job.slice(layer));
  BlockCosts costs;
  costs.flops = (work.forward_flops + work.backward_flops).value;
  if (job.recompute == Recompute::Full && job.recomputes(layer))
    costs.flops += work.forward_flops.value;
  add_pieces(work.forward, costs);
  add_pieces(work.backward, costs);
  add_pieces(work.recompute, costs);
  return costs;
}

// Of one micro-batch, nothing recomputed.
struct ModelFlops {
  double whole = 0, causal = 0;
};

ModelFlops model_flops(const Job& job) {
  ModelFlops flops;
  for (std::size_t layer = 0; layer < job.model.layers.size(); ++layer) {
    const LayerWork work = layer_work(job.model, int(layer), job.slice());
    const Flops whole = work.forward_flops + work.backward_flops;
    flops.whole += whole.value;
    flops.causal += (whole - work.causal_saving).value;
  }
  return flops;
}

// Of all GPUs, in FLOP/s.
double peak_of(const Job& job) {
  const GpuSpec& gpu = job.cluster.node_types.front().gpu;
  const auto peak = gpu.peak[std::size_t(job.precision.compute)];
  SIM_CHECK(peak.has_value(), "a job without a peak");
  return double(job.gpus) * peak->value;
}

}  // namespace

double least_seconds(const Job& job) {
  const ModelFlops flops = model_flops(job);
  return flops.causal * job.micro_batches() * job.parallel.data / peak_of(job);
}

double whole_over_causal_flops(const Job& job) {
  const ModelFlops flops = model_flops(job);
  return flops.whole / flops.causal;
}

NullTerms null_terms(const Job& job) {
  BlockCosts sum;
  double message = 0, parameters = 0;
  for (std::size_t layer = 0; layer < job.model.layers.size(); ++layer) {
    const BlockCosts costs = costs_of(job, int(layer));
    sum.flops += costs.flops;
    sum.tensor_bytes += costs.tensor_bytes;
    sum.kernels += costs.kernels;
    parameters += double(
        job.model.layers[layer].trained_per_rank(job.parallel.tensor, job.parallel.expert_ranks()));
  }
  if (job.model.layers.size() > 1) message = layer_work(job.model, 1, job.slice()).output.value;
  const double t = job.parallel.tensor, p = job.parallel.pipeline, d = job.parallel.data;
  const double replicas = job.parallel.replicas();
  const double v = job.parallel.virtual_stages, m = job.micro_batches();
  const double bubble = 1 + (p - 1) / (v * m);
  return {sum.flops * m * d * bubble / peak_of(job),
          sum.tensor_bytes * (t - 1) / t * m * bubble / p / kTensorRate,
          p > 1 ? 2 * message * m * v / kNetworkRate : 0,
          parameters / p * bytes_of(job.precision.gradients) * 2 * (replicas - 1) / replicas /
              kNetworkRate,
          sum.kernels * m * bubble / p * kKernelSeconds};
}

double NullModels::regression_seconds(const NullTerms& terms) const {
  double seconds = 0;
  for (std::size_t i = 0; i < kNullTerms; ++i) seconds += coefficients[i] * terms[i];
  return seconds;
}

std::optional<NullModels> fitted_null_models(const std::vector<NullSample>& samples) {
  if (samples.empty()) return std::nullopt;
  double logarithms = 0;
  std::vector<std::vector<double>> rows;
  const std::size_t terms = std::clamp<std::size_t>(samples.size() / 2, 1, kNullTerms);
  for (const NullSample& sample : samples) {
    logarithms += std::log(sample.terms[0] / sample.seconds);
    std::vector<double>& row = rows.emplace_back();
    for (std::size_t i = 0; i < terms; ++i) row.push_back(sample.terms[i] / sample.seconds);
  }
  NullModels models;
  models.efficiency = std::exp(logarithms / double(samples.size()));
  const std::vector<double> ones(samples.size(), 1);
  const std::vector<double> fitted = least_squares(rows, ones);
  std::copy(fitted.begin(), fitted.end(), models.coefficients.begin());
  return models;
}

}  // namespace windtunnel

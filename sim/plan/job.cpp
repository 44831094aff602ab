#include "plan/job.hpp"

#include <algorithm>

namespace windtunnel {

namespace {

bool is_block(const Layer& layer) {
  return layer.kind == LayerKind::Block;
}

}  // namespace

std::vector<int> split_layers(const Model& model, int stages) {
  const int blocks = int(std::count_if(model.layers.begin(), model.layers.end(), is_block));
  if (stages < 1 || blocks % stages != 0) return {};
  std::vector<int> layers(std::size_t(stages), blocks / stages);
  for (const Layer& layer : model.layers) {
    if (layer.kind == LayerKind::Embedding) ++layers.front();
    if (layer.kind == LayerKind::Head) ++layers.back();
  }
  return layers;
}

bool Job::recomputes(int layer) const {
  const auto begin = model.layers.begin();
  if (recompute == Recompute::None || !is_block(begin[layer])) return false;
  if (!recompute_layers) return true;
  int first = 0;  // of the layer's stage
  for (const int count : layers_per_stage) {
    if (layer < first + count) break;
    first += count;
  }
  return std::count_if(begin + first, begin + layer, is_block) < *recompute_layers;
}

Slice Job::slice(int layer) const {
  Slice of = slice();
  if (!recomputes(layer)) of.recompute = Recompute::None;
  return of;
}

double optimizer_state_bytes(OptimizerKind kind, const Precision& precision) {
  if (kind == OptimizerKind::None) return 0;
  const double master = bytes_of(precision.compute) < 4 ? 4 : 0;
  return master + (kind == OptimizerKind::Adam ? 8 : 4);
}

double frozen_weight_bytes(DType compute, LayerKind kind) {
  return is_of_operands(compute) && kind != LayerKind::Block ? bytes_of(DType::Bf16)
                                                             : bytes_of(compute);
}

double weight_bytes(DType compute) {
  return bytes_of(compute == DType::Fp4 ? DType::Bf16 : compute);
}

double resident_weight_bytes(DType compute) {
  switch (compute) {
    case DType::Fp8:
      return 2 * bytes_of(compute);
    case DType::Fp4:
      return weight_bytes(compute) + 2 * bytes_of(compute);
    default:
      return weight_bytes(compute);
  }
}

StateBytes state_bytes(const Job& job) {
  const Precision& precision = job.precision;
  StateBytes of = {resident_weight_bytes(precision.compute), bytes_of(precision.gradients),
                   optimizer_state_bytes(job.optimizer, precision)};
  if (job.parallel.fsdp_version == 0) return of;
  const double fp32 = bytes_of(DType::Fp32);
  of.weights = of.gradients = fp32;
  if (job.optimizer != OptimizerKind::None)
    of.optimizer = optimizer_state_bytes(job.optimizer, {DType::Fp32, DType::Fp32});
  return of;
}

namespace {

// Null where one kernel updates all parameters.
const UpdateOperators* separate_update(const Job& job) {
  const OperatorSet* set = job.software->operators;
  const bool has = set && set->adam.kernels > 0 && job.optimizer == OptimizerKind::Adam;
  return has ? &set->adam : nullptr;
}

}  // namespace

double optimizer_traffic(const Job& job) {
  const Precision& precision = job.precision;
  const bool is_mixed = bytes_of(precision.compute) < 4;
  if (const auto* update = separate_update(job)) return is_mixed ? update->mixed : update->fp32;
  const double state = job.optimizer == OptimizerKind::Adam ? 12 : 8;  // fp32 read, and written
  const double low = is_mixed ? weight_bytes(precision.compute) : 0;
  return bytes_of(precision.gradients) + 2 * state + low;
}

int optimizer_kernels(const Job& job, int tensors) {
  const auto* update = separate_update(job);
  if (!update) return 1;
  const bool is_mixed = bytes_of(job.precision.compute) < 4;
  return tensors * (is_mixed ? update->kernels_mixed : update->kernels);
}

bool optimizer_is_awaited(const Job& job) {
  const auto* update = separate_update(job);
  return update && update->wait_for_reductions && job.parallel.data > 1;
}

}  // namespace windtunnel

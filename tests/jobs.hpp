// Jobs of the tests, made in code and resolved as the loader resolves them.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "plan/job.hpp"
#include "plan/plan.hpp"
#include "unit/model_examples.hpp"

namespace windtunnel {

// One sample to a micro-batch; Adam, bf16 and clipping as in a Job of its own.
inline Job job_of(Model model, const Parallelism& parallel, int micro_batches = 1) {
  Job job;
  job.model = std::move(model);
  job.parallel = parallel;
  job.gpus = parallel.replicas() * parallel.tensor * parallel.pipeline;
  job.batch.global = micro_batches * parallel.data;
  job.data_parallel.no_sync = parallel.zero_stage < 2;
  job.layers_per_stage = split_layers(job.model, job.stages());
  return job;
}

struct SyntheticSizes {
  double message = 0, activation = 0;
  std::vector<double> parameters = {};  // of all layers alike, or of each layer
};

// Times are 1 s a pass: a Plan does not depend on them.
inline Model synthetic(int layers, const SyntheticSizes& sizes) {
  std::vector<double> layer_bytes;
  for (const double parameters : sizes.parameters) layer_bytes.push_back(4 * parameters);
  return model_of("synthetic", {{"layers", {double(layers)}},
                                {"forward", {1}},
                                {"backward_input", {1}},
                                {"backward_weight", {1}},
                                {"message", {sizes.message}},
                                {"activation", {sizes.activation}},
                                {"layer_bytes", layer_bytes}});
}

inline Bytes of(const MemoryByKind& memory, MemoryKind kind) {
  return memory[std::size_t(kind)];
}

// Bytes that one rank sends for a collective of `size` bytes on a ring of n.
inline double ring_bytes(CollectiveKind kind, Bytes size, int n) {
  return (kind == CollectiveKind::AllReduce ? 2 : 1) * (n - 1.0) / n * size.value;
}

inline bool is_collective(const Op& op, Purpose purpose) {
  return op.kind == OpKind::Collective && op.purpose == purpose;
}

inline bool covers(const Op& op, int layer) {
  return op.first_layer <= layer && layer < op.end_layer;
}

}  // namespace windtunnel

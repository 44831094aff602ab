// What a run trains on. Every sample is a function of (seed, step, its index in the global batch),
// so that any layout of ranks sees the same global batch: a data-parallel rank takes its part of
// it.
#pragma once

#include <cstdint>
#include <map>

#include "backend/model/layer_module.hpp"
#include "backend/model/samples.hpp"

namespace windtunnel {

class Data {
 public:
  // Of the job's data set, or random tokens or images of the model's own shape. Throws ConfigError
  // when files are missing or damaged. The job must outlive it.
  Data(const Job& job, std::uint64_t seed);

  // `job.batch.micro` samples of the global batch of `step`, from the one of index `first_sample`,
  // or this rank's tokens of them.
  // Stored samples come in a new order each time they all have been used; bytes 0..255 become
  // -1..1.
  MicroBatch micro_batch(const LayerContext& context, std::int64_t step, std::int64_t first_sample);

 private:
  MicroBatch synthetic(std::int64_t step, std::int64_t first_sample) const;
  MicroBatch stored(std::int64_t step, std::int64_t first_sample);
  std::int64_t place_of(std::int64_t sample);

  const Job& job_;
  std::uint64_t seed_;
  Samples samples_;                            // none: synthetic
  std::map<std::int64_t, at::Tensor> orders_;  // of the stored samples, by pass over them
};

}  // namespace windtunnel

// What a run trains on. Every sample is a function of (seed, step, its index in the global batch)
// or of a file, so that any layout of ranks sees the same global batch.
#pragma once

#include <cstdint>
#include <string>

#include "backend/model/layer_module.hpp"

namespace windtunnel {

// Synthetic: random tokens or images of the model's own shape. Mnist: `path` is a folder with
// train-images-idx3-ubyte and train-labels-idx1-ubyte. Source: LeCun, Cortes, Burges, "The MNIST
// database". Cifar10: a folder with data_batch_1.bin, and the batches after it that are there.
// Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", binary version.
enum class DataFormat { Synthetic, Mnist, Cifar10 };

struct DataOptions {
  DataFormat format = DataFormat::Synthetic;
  std::string path;
  std::uint64_t seed = 0;  // of synthetic samples
};

// Labelled images: [n, c, size, size] bytes and [n] int64. Throw BackendError with the file's name.
struct Samples {
  at::Tensor images, labels;
  std::int64_t classes = 0;
};
Samples read_mnist(const std::string& folder);
Samples read_cifar10(const std::string& folder);

class Data {
 public:
  // Throws BackendError when files are missing or damaged, or do not fit the job's model: images
  // train image models of their size, gray ones as three equal colours, and MLPs of as many inputs.
  Data(const Job& job, const DataOptions& options);

  // `job.batch.micro` samples of the global batch of `step`, from the one of index `first_sample`.
  // Stored samples come in the order of the file, over and over; bytes 0..255 become -1..1.
  MicroBatch micro_batch(const LayerContext& context, std::int64_t step,
                         std::int64_t first_sample) const;

 private:
  MicroBatch synthetic(std::int64_t step, std::int64_t first_sample) const;
  MicroBatch stored(std::int64_t step, std::int64_t first_sample) const;

  const Job& job_;
  std::uint64_t seed_;
  Samples samples_;  // none: synthetic
};

}  // namespace windtunnel

// Readers of the small data sets that a job may train on.
#pragma once

#include "backend/torch.hpp"
#include "plan/data_set.hpp"

namespace windtunnel {

// Labelled images: [n, colors, side, side] bytes and [n] int64, in the order of the files.
struct Samples {
  at::Tensor images, labels;
};

// mnist: train-images-idx3-ubyte and train-labels-idx1-ubyte, unpacked. cifar10: data_batch_1.bin
// of the binary version, and the batches after it that are there. Throws ConfigError with the
// file's name when one is missing or damaged.
Samples read_samples(const DataSet& data);

}  // namespace windtunnel

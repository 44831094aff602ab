// Small real data that a job may train on where it is run. A prediction does not depend on it.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "model/model.hpp"

namespace windtunnel {

// Labelled images. Sources: LeCun, Cortes and Burges, "The MNIST database of handwritten digits";
// Krizhevsky 2009, "Learning multiple layers of features from tiny images" (CIFAR-10).
enum class DataFormat { Mnist, Cifar10 };
inline constexpr std::array<std::string_view, 2> kDataFormatNames = {"mnist", "cifar10"};

struct ImageShape {
  int colors = 0, side = 0;  // side x side pixels
  int classes = 0;
  int numel() const { return colors * side * side; }
};
ImageShape image_shape(DataFormat format);

struct DataSet {
  DataFormat format = DataFormat::Mnist;
  std::string path;  // the folder of its files
};

// Why the model cannot train on these images, or empty. Image models take gray images as three
// equal colours, MLPs all numbers of an image in a row; unused classes are no harm.
std::string data_complaint(const Model& model, DataFormat format);

}  // namespace windtunnel

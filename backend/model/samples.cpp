#include "backend/model/samples.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/config_error.hpp"

namespace windtunnel {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw ConfigError(fmt::format("{}: error: {}", path.string(), why));
}

std::string bytes_of_file(const fs::path& path) {
  std::error_code problem;
  if (!fs::exists(path, problem)) {
    const fs::path packed = path.string() + ".gz";
    refuse(path, fs::exists(packed, problem)
                     ? fmt::format("no such file, only {}: unpack it (gunzip)",
                                   packed.filename().string())
                     : "no such file");
  }
  if (!fs::is_regular_file(path, problem)) refuse(path, "is not a file");
  std::string bytes(fs::file_size(path, problem), '\0');
  std::ifstream file(path, std::ios::binary);
  if (problem || !file.read(bytes.data(), std::streamsize(bytes.size())))
    refuse(path, "cannot be read");
  return bytes;
}

at::Tensor byte_tensor(const std::string& bytes, std::size_t first,
                       const std::vector<std::int64_t>& shape) {
  const at::Tensor tensor = at::empty(shape, at::kByte);
  std::copy_n(bytes.data() + first, tensor.numel(), static_cast<char*>(tensor.data_ptr()));
  return tensor;
}

at::Tensor class_labels(const fs::path& path, const at::Tensor& bytes, int classes) {
  const at::Tensor labels = bytes.to(at::kLong);
  if (const auto largest = labels.max().item<std::int64_t>(); largest >= classes)
    refuse(path, fmt::format("a label is {}; the largest is {}", largest, classes - 1));
  return labels;
}

// An idx file of bytes: two zeros, type 8, the number of dimensions, each size in four bytes, the
// largest first, then the data.
at::Tensor read_idx(const fs::path& path, int dimensions) {
  const std::string bytes = bytes_of_file(path);
  const std::size_t header = 4 + 4 * std::size_t(dimensions);
  const std::string magic = {0, 0, 8, char(dimensions)};
  if (bytes.size() < header || bytes.compare(0, 4, magic) != 0)
    refuse(path, fmt::format("not an idx file of bytes with {} dimension{}", dimensions,
                             dimensions == 1 ? "" : "s"));
  std::vector<std::int64_t> shape;
  std::size_t numel = 1;
  for (int i = 0; i < dimensions; ++i) {
    std::uint32_t size = 0;
    for (int j = 0; j < 4; ++j) size = size << 8 | std::uint8_t(bytes[std::size_t(4 + 4 * i + j)]);
    shape.push_back(size);
    // Sizes beyond the file's stay beyond it, without overflow.
    numel = std::min(numel, bytes.size()) * size;
  }
  if (numel == 0) refuse(path, "it is empty");
  if (bytes.size() != header + numel)
    refuse(path, fmt::format("its header says {} bytes of data, but {} follow",
                             fmt::join(shape, " x "), bytes.size() - header));
  return byte_tensor(bytes, header, shape);
}

Samples read_mnist(const fs::path& folder) {
  const ImageShape shape = image_shape(DataFormat::Mnist);
  const fs::path images_path = folder / "train-images-idx3-ubyte";
  const fs::path labels_path = folder / "train-labels-idx1-ubyte";
  const at::Tensor images = read_idx(images_path, 3), labels = read_idx(labels_path, 1);
  if (images.size(1) != shape.side || images.size(2) != shape.side)
    refuse(images_path, fmt::format("its images have {} x {} pixels, MNIST's {} x {}",
                                    images.size(1), images.size(2), shape.side, shape.side));
  if (images.size(0) != labels.size(0))
    refuse(labels_path, fmt::format("{} labels for {} images", labels.size(0), images.size(0)));
  return {images.unsqueeze(1), class_labels(labels_path, labels, shape.classes)};
}

// A record is a label and the reds, greens and blues of an image.
Samples read_cifar10(const fs::path& folder) {
  constexpr int kBatches = 5;
  const ImageShape shape = image_shape(DataFormat::Cifar10);
  const std::int64_t record = 1 + shape.numel();
  std::vector<at::Tensor> images, labels;
  for (int i = 1; i <= kBatches; ++i) {
    const fs::path path = folder / fmt::format("data_batch_{}.bin", i);
    if (i > 1 && !fs::exists(path)) break;
    const std::string bytes = bytes_of_file(path);
    if (bytes.empty()) refuse(path, "it is empty");
    if (std::int64_t(bytes.size()) % record != 0)
      refuse(path, fmt::format("its {} bytes are not a whole number of records of {} bytes",
                               bytes.size(), record));
    const at::Tensor all = byte_tensor(bytes, 0, {std::int64_t(bytes.size()) / record, record});
    images.push_back(
        all.narrow(1, 1, record - 1).reshape({-1, shape.colors, shape.side, shape.side}));
    labels.push_back(class_labels(path, all.select(1, 0), shape.classes));
  }
  return {at::cat(images), at::cat(labels)};
}

}  // namespace

Samples read_samples(const DataSet& data) {
  return data.format == DataFormat::Mnist ? read_mnist(data.path) : read_cifar10(data.path);
}

}  // namespace windtunnel

// Small data sets in the formats of MNIST and CIFAR-10, made by arithmetic: ten classes of stripes
// of different width and place, with noise that differs from image to image.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/mix.hpp"

namespace windtunnel {

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string big_endian(std::uint32_t value) {
  return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)};
}

// Bytes of image `index`, colour by colour.
inline std::string image_of_class(int label, int index, int colors, int side) {
  std::string bytes;
  for (int i = 0; i < colors * side * side; ++i) {
    const bool bright = (i % side + label) / (2 + label / 2) % 2 == 0;
    const std::uint64_t noise = mix(std::uint64_t(index) << 32 | std::uint64_t(i)) % 64;
    bytes += char((bright ? 160 : 32) + int(noise));
  }
  return bytes;
}

inline std::string idx_of_images(std::uint32_t count, int side) {
  std::string bytes = std::string("\0\0\x08\x03", 4) + big_endian(count) +
                      big_endian(std::uint32_t(side)) + big_endian(std::uint32_t(side));
  for (int i = 0; i < int(count); ++i) bytes += image_of_class(i % 10, i, 1, side);
  return bytes;
}

inline std::string idx_of_labels(std::uint32_t count) {
  std::string bytes = std::string("\0\0\x08\x01", 4) + big_endian(count);
  for (std::uint32_t i = 0; i < count; ++i) bytes += char(i % 10);
  return bytes;
}

// Image i is of class i % 10.
inline void write_mnist(const std::filesystem::path& folder, std::uint32_t count) {
  write_bytes(folder / "train-images-idx3-ubyte", idx_of_images(count, 28));
  write_bytes(folder / "train-labels-idx1-ubyte", idx_of_labels(count));
}

// In two files.
inline void write_cifar10(const std::filesystem::path& folder, int count) {
  std::string files[2];
  for (int i = 0; i < count; ++i)
    files[i < count / 2 ? 0 : 1] += char(i % 10) + image_of_class(i % 10, i, 3, 32);
  write_bytes(folder / "data_batch_1.bin", files[0]);
  write_bytes(folder / "data_batch_2.bin", files[1]);
}

}  // namespace windtunnel

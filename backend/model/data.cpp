#include "backend/model/data.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <vector>

#include "backend/backend_error.hpp"
#include "base/mix.hpp"

namespace windtunnel {
namespace {

constexpr std::int64_t kColors = 3;

std::string bytes_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw BackendError(path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

at::Tensor byte_tensor(const std::string& bytes, std::size_t first,
                       const std::vector<std::int64_t>& shape) {
  const at::Tensor tensor = at::empty(shape, at::kByte);
  std::copy_n(bytes.data() + first, tensor.numel(), static_cast<char*>(tensor.data_ptr()));
  return tensor;
}

// An idx file of bytes: two zeros, type 8, the number of dimensions, each size in four bytes, the
// largest first, then the data.
at::Tensor read_idx(const std::string& path, int dimensions) {
  const std::string bytes = bytes_of_file(path);
  const std::size_t header = 4 + 4 * std::size_t(dimensions);
  const std::string magic = {0, 0, 8, char(dimensions)};
  if (bytes.size() < header || bytes.compare(0, 4, magic) != 0)
    throw BackendError(path + ": not an idx file of bytes with " + std::to_string(dimensions) +
                       " dimension" + (dimensions == 1 ? "" : "s"));
  std::vector<std::int64_t> shape;
  std::size_t numel = 1;
  for (int i = 0; i < dimensions; ++i) {
    std::uint32_t size = 0;
    for (int j = 0; j < 4; ++j) size = size << 8 | std::uint8_t(bytes[std::size_t(4 + 4 * i + j)]);
    shape.push_back(size);
    // Sizes beyond the file's stay beyond it, without overflow.
    numel = std::min(numel, bytes.size()) * size;
  }
  if (numel == 0 || bytes.size() != header + numel)
    throw BackendError(path + ": its header tells another size than the file has");
  return byte_tensor(bytes, header, shape);
}

std::int64_t classes_of(const Parameters& parameters) {
  return parameters.count(parameters.has("classes") ? "classes" : "outputs");
}

std::string samples_complaint(const Model& model, const Samples& samples) {
  if (model.family->is_sequence) return "a model of sequences does not train on images";
  const Parameters& parameters = model.parameters;
  const at::Tensor sample = samples.images[0];
  if (parameters.has("inputs") && parameters.count("inputs") != sample.numel())
    return "the model has " + std::to_string(parameters.count("inputs")) +
           " inputs, an image has " + std::to_string(sample.numel());
  if (parameters.has("image") &&
      (parameters.count("image") != sample.size(1) || sample.size(1) != sample.size(2)))
    return "the model takes images of " + std::to_string(parameters.count("image")) +
           " pixels a side, these have " + std::to_string(sample.size(1)) + " x " +
           std::to_string(sample.size(2));
  if (classes_of(parameters) < samples.classes)
    return "the model has " + std::to_string(classes_of(parameters)) + " classes, the data " +
           std::to_string(samples.classes);
  return {};
}

at::Generator generator_of(std::uint64_t seed, std::int64_t step, std::int64_t sample) {
  return at::make_generator<at::CPUGeneratorImpl>(
      mix(mix(mix(seed) + std::uint64_t(step)) + std::uint64_t(sample)));
}

}  // namespace

Samples read_mnist(const std::string& folder) {
  const std::string labels_path = folder + "/train-labels-idx1-ubyte";
  Samples samples = {read_idx(folder + "/train-images-idx3-ubyte", 3).unsqueeze(1),
                     read_idx(labels_path, 1).to(at::kLong), 10};
  if (samples.images.size(0) != samples.labels.size(0))
    throw BackendError(labels_path + ": " + std::to_string(samples.labels.size(0)) +
                       " labels for " + std::to_string(samples.images.size(0)) + " images");
  if (samples.labels.max().item<std::int64_t>() >= samples.classes)
    throw BackendError(labels_path + ": a label above 9");
  return samples;
}

// A record is a label and 32 x 32 reds, greens and blues.
Samples read_cifar10(const std::string& folder) {
  constexpr std::int64_t side = 32, image = kColors * side * side, batches = 5;
  std::vector<at::Tensor> images, labels;
  for (int i = 1; i <= batches; ++i) {
    const std::string path = folder + "/data_batch_" + std::to_string(i) + ".bin";
    if (i > 1 && !std::filesystem::exists(path)) break;
    const std::string bytes = bytes_of_file(path);
    if (bytes.empty() || bytes.size() % (1 + image) != 0)
      throw BackendError(path + ": not a whole number of records of " + std::to_string(1 + image) +
                         " bytes");
    const std::int64_t records = std::int64_t(bytes.size()) / (1 + image);
    const at::Tensor all = byte_tensor(bytes, 0, {records, 1 + image});
    images.push_back(all.narrow(1, 1, image).reshape({records, kColors, side, side}));
    labels.push_back(all.select(1, 0).to(at::kLong));
    if (labels.back().max().item<std::int64_t>() > 9)
      throw BackendError(path + ": a label above 9");
  }
  return {at::cat(images), at::cat(labels), 10};
}

Data::Data(const Job& job, const DataOptions& options) : job_(job), seed_(options.seed) {
  switch (options.format) {
    case DataFormat::Synthetic:
      return;
    case DataFormat::Mnist:
      samples_ = read_mnist(options.path);
      break;
    case DataFormat::Cifar10:
      samples_ = read_cifar10(options.path);
      break;
  }
  const std::string why = samples_complaint(job.model, samples_);
  if (!why.empty()) throw BackendError(options.path + ": " + why);
}

MicroBatch Data::micro_batch(const LayerContext& context, std::int64_t step,
                             std::int64_t first_sample) const {
  const MicroBatch batch =
      samples_.images.defined() ? stored(step, first_sample) : synthetic(step, first_sample);
  const at::ScalarType type = job_.model.family->is_sequence ? at::kLong : context.type;
  return {batch.input.to(context.device, type), batch.target.to(context.device)};
}

MicroBatch Data::synthetic(std::int64_t step, std::int64_t first_sample) const {
  const Parameters& parameters = job_.model.parameters;
  std::vector<at::Tensor> inputs, targets;
  for (int i = 0; i < job_.batch.micro; ++i) {
    const at::Generator generator = generator_of(seed_, step, first_sample + i);
    if (job_.model.family->is_sequence) {
      // The target of a token is the next one.
      const std::int64_t tokens = job_.batch.sequence;
      const at::Tensor words =
          at::randint(0, parameters.count("vocab"), {tokens + 1}, generator, at::kLong);
      inputs.push_back(words.narrow(0, 0, tokens));
      targets.push_back(words.narrow(0, 1, tokens));
      continue;
    }
    const std::vector<std::int64_t> shape =
        parameters.has("image") ? std::vector<std::int64_t>{kColors, parameters.count("image"),
                                                            parameters.count("image")}
                                : std::vector<std::int64_t>{parameters.count("inputs")};
    inputs.push_back(at::randn(shape, generator, at::kFloat));
    targets.push_back(at::randint(0, classes_of(parameters), {}, generator, at::kLong));
  }
  return {at::stack(inputs), at::stack(targets)};
}

MicroBatch Data::stored(std::int64_t step, std::int64_t first_sample) const {
  const at::Tensor index = at::arange(job_.batch.micro, at::kLong)
                               .add_(step * job_.batch.global + first_sample)
                               .remainder_(samples_.images.size(0));
  at::Tensor images = samples_.images.index_select(0, index).to(at::kFloat).div_(127.5).sub_(1);
  if (job_.model.parameters.has("inputs"))
    images = images.flatten(1);
  else if (images.size(1) == 1)
    images = images.repeat({1, kColors, 1, 1});
  return {images, samples_.labels.index_select(0, index)};
}

}  // namespace windtunnel

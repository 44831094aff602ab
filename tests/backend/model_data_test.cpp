#include "backend/catch.hpp"

#include <fstream>

#include "backend/backend_error.hpp"
#include "backend/model/data.hpp"
#include "folder.hpp"
#include "model_runs.hpp"

namespace windtunnel {
namespace {

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string big_endian(std::uint32_t value) {
  return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)};
}

// `count` images of 28 x 28: image i is all bytes 40 i, its label is i.
void write_mnist(const std::string& folder, std::uint32_t count, std::uint32_t labels) {
  std::string images =
      std::string("\0\0\x08\x03", 4) + big_endian(count) + big_endian(28) + big_endian(28);
  for (std::uint32_t i = 0; i < count; ++i) images += std::string(28 * 28, char(40 * i));
  std::string classes = std::string("\0\0\x08\x01", 4) + big_endian(labels);
  for (std::uint32_t i = 0; i < labels; ++i) classes += char(i);
  write_bytes(folder + "/train-images-idx3-ubyte", images);
  write_bytes(folder + "/train-labels-idx1-ubyte", classes);
}

Job mlp_job(double inputs) {
  return small_job(
      model_of("mlp", {{"inputs", {inputs}}, {"hidden", {4}}, {"layers", {1}}, {"outputs", {10}}}));
}
Job resnet_job(double image) {
  return small_job(
      model_of("resnet", {{"blocks", {1}}, {"width", {4}}, {"image", {image}}, {"classes", {10}}}));
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const BackendError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("Synthetic samples depend on their place in the batch, not on the rank", "[model]") {
  for (Job job : small_jobs()) {
    INFO(job.model.name);
    const LayerContext context;
    job.batch.micro = 4;
    const MicroBatch whole = Data(job, {}).micro_batch(context, 3, 0);
    job.batch.micro = 2;
    const Data data(job, {});
    const MicroBatch part = data.micro_batch(context, 3, 2);
    CHECK(at::equal(part.input, whole.input.narrow(0, 2, 2)));
    CHECK(at::equal(part.target, whole.target.narrow(0, 2, 2)));
    CHECK_FALSE(at::equal(part.input, data.micro_batch(context, 4, 2).input));
    CHECK_FALSE(at::equal(part.input, data.micro_batch(context, 3, 0).input));
    CHECK_FALSE(at::equal(part.input, Data(job, {.seed = 1}).micro_batch(context, 3, 2).input));
  }
}

TEST_CASE("MNIST comes in the order of its file, from -1 to 1", "[model]") {
  const TemporaryFolder folder("model_data");
  write_mnist(folder.path.string(), 5, 5);
  const LayerContext context;
  const DataOptions mnist = {DataFormat::Mnist, folder.path.string()};
  // Two samples a step: step 2 has samples 4 and 0 again.
  const Job job = mlp_job(784);
  const MicroBatch batch = Data(job, mnist).micro_batch(context, 2, 0);
  CHECK(at::equal(batch.target, at::tensor({4, 0}, at::kLong)));
  CHECK(batch.input.sizes() == at::IntArrayRef({2, 784}));
  CHECK(batch.input[0][5].item<double>() == Approx(160 / 127.5 - 1));
  CHECK(batch.input[1][5].item<double>() == -1);
  const Job images = resnet_job(28);
  CHECK(Data(images, mnist).micro_batch(context, 0, 0).input.sizes() ==
        at::IntArrayRef({2, 3, 28, 28}));
}

TEST_CASE("CIFAR-10 has a label and three colours a record", "[model]") {
  const TemporaryFolder folder("model_data");
  const std::string record =
      char(7) + std::string(1024, char(255)) + std::string(1024, 0) + std::string(1024, char(51));
  write_bytes(folder.path.string() + "/data_batch_1.bin", record);
  write_bytes(folder.path.string() + "/data_batch_2.bin", record);
  const Job job = resnet_job(32);
  const MicroBatch batch =
      Data(job, {DataFormat::Cifar10, folder.path.string()}).micro_batch(LayerContext(), 0, 0);
  CHECK(at::equal(batch.target, at::tensor({7, 7}, at::kLong)));
  CHECK(batch.input.sizes() == at::IntArrayRef({2, 3, 32, 32}));
  CHECK(batch.input[0][0][3][4].item<double>() == 1);
  CHECK(batch.input[0][1][3][4].item<double>() == -1);
  CHECK(batch.input[1][2][3][4].item<double>() == Approx(-0.6));  // 51 / 127.5 - 1
}

TEST_CASE("Files that are damaged or do not fit the model are named", "[model]") {
  const TemporaryFolder folder("model_data");
  const std::string path = folder.path.string(), images = path + "/train-images-idx3-ubyte";
  const DataOptions mnist = {DataFormat::Mnist, path};
  const auto error = [&](const Job& job, const DataOptions& options) {
    return error_of([&] { Data(job, options); });
  };
  const Job job = mlp_job(784);
  CHECK(error(job, mnist) == images + ": cannot be read");
  write_bytes(images, "no idx");
  CHECK(error(job, mnist) == images + ": not an idx file of bytes with 3 dimensions");
  write_mnist(path, 3, 2);
  CHECK(error(job, mnist) == path + "/train-labels-idx1-ubyte: 2 labels for 3 images");
  write_mnist(path, 12, 12);
  CHECK(error(job, mnist) == path + "/train-labels-idx1-ubyte: a label above 9");
  write_bytes(images, std::string("\0\0\x08\x03", 4) + big_endian(~0u) + big_endian(~0u) +
                          big_endian(~0u) + "a");
  CHECK(error(job, mnist) == images + ": its header tells another size than the file has");
  write_mnist(path, 3, 3);
  CHECK(error(mlp_job(12), mnist) == path + ": the model has 12 inputs, an image has 784");
  CHECK(error(resnet_job(32), mnist) ==
        path + ": the model takes images of 32 pixels a side, these have 28 x 28");
  CHECK(error(small_jobs().front(), mnist) ==
        path + ": a model of sequences does not train on images");
  CHECK(error(small_job(model_of(
                  "mlp", {{"inputs", {784}}, {"hidden", {4}}, {"layers", {1}}, {"outputs", {5}}})),
              mnist) == path + ": the model has 5 classes, the data 10");
  const DataOptions cifar = {DataFormat::Cifar10, path};
  CHECK(error(resnet_job(32), cifar) == path + "/data_batch_1.bin: cannot be read");
  write_bytes(path + "/data_batch_1.bin", "short");
  CHECK(error(resnet_job(32), cifar) ==
        path + "/data_batch_1.bin: not a whole number of records of 3073 bytes");
}

}  // namespace windtunnel

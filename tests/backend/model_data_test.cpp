#include "backend/catch.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include "backend/model/data.hpp"
#include "backend/sample_images.hpp"
#include "config/config_error.hpp"
#include "folder.hpp"
#include "model_runs.hpp"

namespace windtunnel {
namespace {

Job mlp_job(double inputs) {
  return small_job(
      model_of("mlp", {{"inputs", {inputs}}, {"hidden", {4}}, {"layers", {1}}, {"outputs", {10}}}));
}
Job resnet_job(double image) {
  return small_job(
      model_of("resnet", {{"blocks", {1}}, {"width", {4}}, {"image", {image}}, {"classes", {10}}}));
}
Job with_data(Job job, DataFormat format, const TemporaryFolder& folder) {
  job.data = DataSet{format, folder.path.string()};
  return job;
}

std::vector<std::int64_t> labels_of(const MicroBatch& batch) {
  const auto* first = batch.target.data_ptr<std::int64_t>();
  return {first, first + batch.target.numel()};
}

// Of `steps` global batches, in order.
std::vector<std::int64_t> labels_of_steps(const Job& job, std::uint64_t seed, int steps) {
  Data data(job, seed);
  std::vector<std::int64_t> labels;
  for (int step = 0; step < steps; ++step)
    for (int first = 0; first < job.batch.global; first += job.batch.micro)
      for (const std::int64_t label : labels_of(data.micro_batch(LayerContext(), step, first)))
        labels.push_back(label);
  return labels;
}

}  // namespace

TEST_CASE("Synthetic samples depend on their place in the batch, not on the rank", "[model]") {
  for (Job job : small_jobs()) {
    INFO(job.model.name);
    const LayerContext context;
    job.batch.micro = 4;
    const MicroBatch whole = Data(job, 0).micro_batch(context, 3, 0);
    job.batch.micro = 2;
    Data data(job, 0);
    const MicroBatch part = data.micro_batch(context, 3, 2);
    CHECK(at::equal(part.input, whole.input.narrow(0, 2, 2)));
    CHECK(at::equal(part.target, whole.target.narrow(0, 2, 2)));
    CHECK_FALSE(at::equal(part.input, data.micro_batch(context, 4, 2).input));
    CHECK_FALSE(at::equal(part.input, data.micro_batch(context, 3, 0).input));
    CHECK_FALSE(at::equal(part.input, Data(job, 1).micro_batch(context, 3, 2).input));
  }
}

TEST_CASE("MNIST is gray, from -1 to 1, and each image keeps its label", "[model]") {
  const TemporaryFolder folder("model_data");
  write_mnist(folder.path, 7);
  // Image i is all bytes 40 i, in place of stripes.
  std::string images = idx_of_images(7, 28).substr(0, 16);
  for (int i = 0; i < 7; ++i) images += std::string(28 * 28, char(40 * i));
  write_bytes(folder.path / "train-images-idx3-ubyte", images);
  const auto check_images = [](const at::Tensor& input, const MicroBatch& batch) {
    const std::vector<std::int64_t> labels = labels_of(batch);
    for (std::int64_t i = 0; i < 2; ++i) {
      const double value = 40.0 * double(labels[std::size_t(i)]) / 127.5 - 1;
      CHECK(input[i].min().item<double>() == Approx(value));
      CHECK(input[i].max().item<double>() == Approx(value));
    }
  };
  const Job flat = with_data(mlp_job(784), DataFormat::Mnist, folder);
  const MicroBatch rows = Data(flat, 0).micro_batch(LayerContext(), 2, 0);
  CHECK(rows.input.sizes() == at::IntArrayRef({2, 784}));
  check_images(rows.input, rows);
  const Job square = with_data(resnet_job(28), DataFormat::Mnist, folder);
  const MicroBatch pictures = Data(square, 0).micro_batch(LayerContext(), 2, 0);
  CHECK(pictures.input.sizes() == at::IntArrayRef({2, 3, 28, 28}));
  check_images(pictures.input, pictures);
}

TEST_CASE("CIFAR-10 has a label and three colours a record", "[model]") {
  const TemporaryFolder folder("model_data");
  const std::string record =
      char(7) + std::string(1024, char(255)) + std::string(1024, 0) + std::string(1024, char(51));
  write_bytes(folder.path / "data_batch_1.bin", record);
  write_bytes(folder.path / "data_batch_2.bin", record);
  const Job job = with_data(resnet_job(32), DataFormat::Cifar10, folder);
  const MicroBatch batch = Data(job, 0).micro_batch(LayerContext(), 0, 0);
  CHECK(labels_of(batch) == std::vector<std::int64_t>{7, 7});
  CHECK(batch.input.sizes() == at::IntArrayRef({2, 3, 32, 32}));
  CHECK(batch.input[0][0][3][4].item<double>() == 1);
  CHECK(batch.input[0][1][3][4].item<double>() == -1);
  CHECK(batch.input[1][2][3][4].item<double>() == Approx(-0.6));  // 51 / 127.5 - 1
}

TEST_CASE("stored samples come once a pass, in an order of the seed and the pass", "[model]") {
  const TemporaryFolder folder("model_data");
  write_mnist(folder.path, 10);  // labels tell the images apart
  Job job = with_data(mlp_job(784), DataFormat::Mnist, folder);
  job.batch.global = 6;  // 5 steps: passes end within a micro-batch's neighbours and within a step
  const std::vector<std::int64_t> labels = labels_of_steps(job, 1, 5);
  std::set<std::vector<std::int64_t>> orders;
  for (int pass = 0; pass < 3; ++pass) {
    const std::vector<std::int64_t> order(labels.begin() + 10 * pass,
                                          labels.begin() + 10 * (pass + 1));
    orders.insert(order);
    CHECK(std::set<std::int64_t>(order.begin(), order.end()).size() == 10);
  }
  CHECK(orders.size() == 3);
  CHECK(labels_of_steps(job, 1, 5) == labels);
  CHECK(labels_of_steps(job, 2, 5) != labels);
  // Other micro-batches of the same global batch, also one that holds the end of a pass.
  job.batch.micro = 3;
  CHECK(labels_of_steps(job, 1, 5) == labels);
}

TEST_CASE("files of a data set that are missing or damaged are refused by name", "[model]") {
  const TemporaryFolder folder("model_data");
  const std::string path = folder.path.string(), images = path + "/train-images-idx3-ubyte",
                    labels = path + "/train-labels-idx1-ubyte", batch = path + "/data_batch_1.bin";
  const auto error = [&](DataFormat format) -> std::string {
    try {
      read_samples({format, path});
    } catch (const ConfigError& refused) {
      return refused.what();
    }
    return "no error";
  };
  CHECK(error(DataFormat::Mnist) == images + ": error: no such file");
  write_bytes(images + ".gz", "packed");
  CHECK(error(DataFormat::Mnist) ==
        images + ": error: no such file, only train-images-idx3-ubyte.gz: unpack it (gunzip)");
  std::filesystem::create_directory(images);
  CHECK(error(DataFormat::Mnist) == images + ": error: is not a file");
  std::filesystem::remove(images);
  write_bytes(images, "no idx");
  CHECK(error(DataFormat::Mnist) == images + ": error: not an idx file of bytes with 3 dimensions");
  write_bytes(images, idx_of_images(3, 28));
  CHECK(error(DataFormat::Mnist) == labels + ": error: no such file");
  write_bytes(labels, idx_of_images(1, 1));
  CHECK(error(DataFormat::Mnist) == labels + ": error: not an idx file of bytes with 1 dimension");
  write_bytes(labels, idx_of_labels(2));
  CHECK(error(DataFormat::Mnist) == labels + ": error: 2 labels for 3 images");
  write_bytes(labels, std::string("\0\0\x08\x01", 4) + big_endian(3) + "\x01\x0a\x02");
  CHECK(error(DataFormat::Mnist) == labels + ": error: a label is 10; the largest is 9");
  write_bytes(images, idx_of_images(3, 20));
  CHECK(error(DataFormat::Mnist) ==
        images + ": error: its images have 20 x 20 pixels, MNIST's 28 x 28");
  write_bytes(images, idx_of_images(0, 28));
  CHECK(error(DataFormat::Mnist) == images + ": error: it is empty");
  const std::string whole = idx_of_images(3, 28);
  write_bytes(images, whole.substr(0, whole.size() - 1));
  CHECK(error(DataFormat::Mnist) ==
        images + ": error: its header says 3 x 28 x 28 bytes of data, but 2351 follow");
  write_bytes(images, std::string("\0\0\x08\x03", 4) + big_endian(~0u) + big_endian(~0u) +
                          big_endian(~0u) + "a");
  CHECK(error(DataFormat::Mnist) ==
        images +
            ": error: its header says 4294967295 x 4294967295 x 4294967295 bytes of data, "
            "but 1 follow");

  CHECK(error(DataFormat::Cifar10) == batch + ": error: no such file");
  write_bytes(batch, "");
  CHECK(error(DataFormat::Cifar10) == batch + ": error: it is empty");
  write_bytes(batch, "short");
  CHECK(error(DataFormat::Cifar10) ==
        batch + ": error: its 5 bytes are not a whole number of records of 3073 bytes");
  write_bytes(batch, char(10) + std::string(3072, 0));
  CHECK(error(DataFormat::Cifar10) == batch + ": error: a label is 10; the largest is 9");
}

}  // namespace windtunnel

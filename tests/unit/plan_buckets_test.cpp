// Gradient buckets of PyTorch DDP: a bucket closes when it has reached the limit, so it overshoots.
#include <numeric>

#include "catch.hpp"
#include "jobs.hpp"

namespace windtunnel {
namespace {

using Buckets = std::vector<std::vector<int>>;
constexpr double kMiB = 1024.0 * 1024;

Model resnet_50() {
  return model_of("resnet", {{"blocks", {3, 4, 6, 3}}});
}

// What DDP sees: the sizes in reverse registration order, as their gradients become ready.
std::vector<Bytes> reversed_tensor_bytes(const Model& model, double bytes_per_parameter) {
  std::vector<Bytes> sizes;
  for (auto layer = model.layers.rbegin(); layer != model.layers.rend(); ++layer)
    for (auto tensor = layer->tensors.rbegin(); tensor != layer->tensors.rend(); ++tensor)
      sizes.push_back(Bytes(double(tensor->numel) * bytes_per_parameter));
  return sizes;
}

Job resnet_job() {
  Job job = job_of(resnet_50(), {.data = 4});
  job.precision = {DType::Fp32, DType::Fp32};
  return job;
}

std::vector<Op> reductions_of(const Program& program) {
  std::vector<Op> list;
  for (const Op& op : program.ops)
    if (is_collective(op, Purpose::GradientReduction)) list.push_back(op);
  return list;
}

// By hand: fc is 2049000 parameters, 8196000 bytes, above 1 MiB alone; the rest above 25 MiB each.
const std::vector<double> kResNetBytes = {8196000, 31502336, 26255360, 26550272, 9724160};

}  // namespace

TEST_CASE("buckets: close when the limit is reached") {
  const std::vector<Bytes> sizes = {Bytes(1048576), Bytes(2048),    Bytes(1048576),
                                    Bytes(2048),    Bytes(1048576), Bytes(2048)};
  // 1 MiB fills a bucket alone; 2 KiB do not, and take the next tensor with them.
  CHECK(ddp_buckets(sizes, Bytes(kMiB), Bytes(kMiB)) == Buckets{{0}, {1, 2}, {3, 4}, {5}});
  CHECK(ddp_buckets(sizes, Bytes(1e12), Bytes(1e12)) == Buckets{{0, 1, 2, 3, 4, 5}});
  // One byte above the first tensor's size: the second still fits in.
  CHECK(ddp_buckets(sizes, Bytes(kMiB + 1), Bytes(kMiB)) == Buckets{{0, 1}, {2}, {3, 4}, {5}});
  CHECK(ddp_buckets({}, Bytes(1), Bytes(1)).empty());
}

TEST_CASE("buckets: the first limit counts once") {
  const std::vector<Bytes> sizes(8, Bytes(10));
  CHECK(ddp_buckets(sizes, Bytes(10), Bytes(30)) == Buckets{{0}, {1, 2, 3}, {4, 5, 6}, {7}});
  CHECK(ddp_buckets(sizes, Bytes(30), Bytes(10)) == Buckets{{0, 1, 2}, {3}, {4}, {5}, {6}, {7}});
}

TEST_CASE("buckets: a tensor that is to be alone closes the open bucket and its own") {
  const std::vector<Bytes> sizes(5, Bytes(10));
  CHECK(ddp_buckets(sizes, Bytes(1e12), Bytes(1e12), 2) == Buckets{{0, 1}, {2}, {3, 4}});
  CHECK(ddp_buckets(sizes, Bytes(1e12), Bytes(1e12), 0) == Buckets{{0}, {1, 2, 3, 4}});
  CHECK(ddp_buckets(sizes, Bytes(1e12), Bytes(1e12), 4) == Buckets{{0, 1, 2, 3}, {4}});
  CHECK(ddp_buckets(sizes, Bytes(20), Bytes(20), 2) == Buckets{{0, 1}, {2}, {3, 4}});
  CHECK(ddp_buckets(sizes, Bytes(10), Bytes(10), 2) == Buckets{{0}, {1}, {2}, {3}, {4}});
}

// Block of hidden 8: 12 h^2 + 13 h = 872 parameters; 32 * 8 = 256 words, 8 * 8 = 64 positions, norm
// 16. Two bytes each. Both ends have to divide the words alike to add up their shards.
TEST_CASE("buckets: tied words on two pipeline ranks have their own where shards are kept") {
  const auto bytes_of_ends = [](int zero_stage) {
    Job job = job_of(gpt(8, 2, 2, 32, 8), {.data = 2, .pipeline = 2, .zero_stage = zero_stage}, 2);
    job.batch.sequence = 8;
    std::vector<std::vector<double>> ends;
    for (const Program& program : build_plan(job).programs) {
      ends.emplace_back();
      int reductions = 0, embedding = 0;
      for (int i = 0; i < int(program.ops.size()); ++i) {
        const Op& op = program.ops[std::size_t(i)];
        if (is_collective(op, Purpose::EmbeddingReduction)) embedding = i;
        if (!is_collective(op, Purpose::GradientReduction)) continue;
        reductions = i;
        ends.back().push_back(op.bytes.value);
      }
      CHECK(reductions < embedding);  // on one stream, so in this order
    }
    return ends;
  };
  const std::vector<std::vector<double>> together = {{2384}, {2288}};
  const std::vector<std::vector<double>> alone = {{1872, 512}, {512, 1776}};
  CHECK(bytes_of_ends(0) == together);
  CHECK(bytes_of_ends(1) == alone);
  // Stages 2 and 3 reduce after each of the two micro-batches.
  CHECK(bytes_of_ends(2) ==
        std::vector<std::vector<double>>{{1872, 512, 1872, 512}, {512, 1776, 512, 1776}});
  CHECK(bytes_of_ends(3) == std::vector<std::vector<double>>{{1744, 128, 512, 1744, 128, 512},
                                                             {512, 32, 1744, 512, 32, 1744}});
}

TEST_CASE("buckets: ResNet-50 in fp32 with the defaults of DDP") {
  const std::vector<Bytes> sizes = reversed_tensor_bytes(resnet_50(), 4);
  CHECK(sizes.size() == 161);  // 3 stem, 16 blocks of 9, 4 shortcuts of 3, 2 classifier
  const Buckets buckets = ddp_buckets(sizes, Bytes(kMiB), Bytes(25 * kMiB));
  std::vector<std::size_t> tensors;
  std::vector<double> bytes;
  int next = 0;
  for (const std::vector<int>& bucket : buckets) {
    tensors.push_back(bucket.size());
    bytes.push_back(0);
    for (const int tensor : bucket) {
      CHECK(tensor == next++);
      bytes.back() += sizes[std::size_t(tensor)].value;
    }
  }
  CHECK(tensors == std::vector<std::size_t>{2, 15, 12, 51, 81});
  CHECK(bytes == kResNetBytes);
  CHECK(std::accumulate(bytes.begin(), bytes.end(), 0.0) == 102228128);
}

TEST_CASE("buckets: the reductions of a ResNet-50 job") {
  const Plan plan = build_plan(resnet_job());
  REQUIRE(plan.programs.size() == 1);
  const Program& program = plan.programs.front();
  const std::vector<Op> reductions = reductions_of(program);
  REQUIRE(reductions.size() == 5);
  // Layers: 0 stem, 1-3, 4-7, 8-13, 14-16 the blocks of the stages, 17 classifier. 15 tensors are
  // the 9 of layer 16 and 6 of 15; 12 the other 3 of 15 and 9 of the 12 of 14; 51 the other 3 of
  // 14, 5 x 9 of 13-9 and 3 of 8. A bucket ends the part of the backward pass that completes it.
  const int first_layers[] = {17, 15, 14, 8, 0}, end_layers[] = {18, 17, 15, 14, 8};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(reductions[i].bytes == Bytes(kResNetBytes[i]));
    CHECK(reductions[i].collective == CollectiveKind::AllReduce);
    CHECK(reductions[i].group == GroupKind::Data);
    CHECK(reductions[i].stream == Stream::Communication);
    CHECK(reductions[i].first_layer == first_layers[i]);
    CHECK(reductions[i].end_layer == end_layers[i]);
    REQUIRE(reductions[i].after.size() == 1);
    const Op& backward = program.ops[std::size_t(reductions[i].after.front())];
    CHECK(backward.purpose == Purpose::Backward);
    CHECK(backward.first_layer == first_layers[i]);
    CHECK(backward.end_layer == end_layers[i]);
  }
}

TEST_CASE("buckets: without overlap the same buckets follow the whole backward pass") {
  Job job = resnet_job();
  job.data_parallel.overlap = false;
  const Program program = build_plan(job).programs.front();
  std::vector<double> bytes;
  for (const Op& op : reductions_of(program)) {
    bytes.push_back(op.bytes.value);
    CHECK(op.stream == Stream::Compute);
  }
  CHECK(bytes == kResNetBytes);
  int backwards = 0;
  for (const Op& op : program.ops) backwards += op.purpose == Purpose::Backward;
  CHECK(backwards == 1);
}

TEST_CASE("buckets: a limit of the user cuts in its own places") {
  // Layers of 10 parameters, 20 bytes in bf16, last layer first. 30 bytes take two layers.
  Job job = job_of(synthetic(5, {.parameters = {10}}), {.data = 2});
  job.data_parallel.first_bucket = job.data_parallel.bucket = Bytes(30);
  std::vector<double> bytes;
  std::vector<int> first_layers;
  for (const Op& op : reductions_of(build_plan(job).programs.front())) {
    bytes.push_back(op.bytes.value);
    first_layers.push_back(op.first_layer);
  }
  CHECK(bytes == std::vector<double>{40, 40, 20});
  CHECK(first_layers == std::vector<int>{3, 1, 0});
  job.precision.gradients = DType::Fp32;  // 40 bytes a layer: each is a bucket
  CHECK(reductions_of(build_plan(job).programs.front()).size() == 5);
}

TEST_CASE("buckets: tensor parallelism halves what is split and leaves the rest") {
  // Block of hidden 8: 12 h^2 + 7 h split (QKV and MLP biases), 6 h whole (norms, two biases).
  // t = 2: 12 * 64 / 2 + 7 * 8 / 2 + 6 * 8 = 384 + 28 + 48 = 460.
  // Embedding: 32 * 8 / 2 = 128 words, 8 * 8 = 64 positions; head: 2 * 8 = 16 norm, words tied.
  Job job = job_of(gpt(8, 2, 2, 32, 8), {.data = 2, .tensor = 2});
  job.batch.sequence = 8;
  const Program program = build_plan(job).programs.front();
  CHECK(program.parameters == 2 * 460 + 128 + 64 + 16);
  const CollectiveVolume volume =
      collective_volume(program, GroupKind::Data, CollectiveKind::AllReduce);
  CHECK(volume.bytes == Bytes(2.0 * 1128));
}

}  // namespace windtunnel

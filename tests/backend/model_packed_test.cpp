// Samples that share a sequence: how long they are, and that each learns as if it were alone.
#include "backend/catch.hpp"

#include <numeric>

#include "backend/model/packed_samples.hpp"
#include "model_runs.hpp"

namespace windtunnel {
namespace {

using Lengths = std::vector<std::int64_t>;

std::int64_t sum_of(const Lengths& lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
}
std::int64_t squares_of(const Lengths& lengths) {
  return std::inner_product(lengths.begin(), lengths.end(), lengths.begin(), std::int64_t{0});
}

}  // namespace

TEST_CASE("packed samples fill the sequence and attend to what the job says", "[model]") {
  CHECK(packed_lengths(8, 8) == Lengths{8});
  CHECK(packed_lengths(8, 4) == Lengths{4, 4});
  CHECK(packed_lengths(8, 1) == Lengths(8, 1));
  CHECK(packed_lengths(8, 3) == Lengths{4, 2, 2});  // 16 + 4 + 4 = 3 x 8
  CHECK(packed_lengths(8, 7).empty());              // 7 + 1 tokens: 50 of 56, 8 tokens: 64
  CHECK(packed_lengths(8, 9).empty());
  for (const int sequence : {1, 2, 3, 16, 31, 100, 4096, 8192})
    for (const int attended : {1, 2, 3, 5, 16, 25, 50, 175, 386, 2048, 4096}) {
      const Lengths lengths = packed_lengths(sequence, attended);
      INFO(sequence << " tokens, of which one attends to " << attended);
      // Lengths of four times the attended ones always exist.
      if (4 * attended <= sequence) REQUIRE(!lengths.empty());
      if (lengths.empty()) continue;
      const std::int64_t odd = std::int64_t{sequence} * (attended - 1) % 2;
      CHECK(sum_of(lengths) == sequence);
      CHECK(squares_of(lengths) == std::int64_t{sequence} * attended - odd);
    }
  // As NeMo's fine-tuning has it: samples of about 175 tokens.
  const Lengths tuning = packed_lengths(4096, 175);
  CHECK(std::count(tuning.begin(), tuning.end(), 175) >= 20);
}

TEST_CASE("packed samples learn what each learns alone", "[model]") {
  const Values sizes = {
      {"layers", {2}}, {"hidden", {16}}, {"heads", {4}}, {"vocab", {32}}, {"ffn", {24}}};
  const auto with = [&](const Values& more) {
    Values values = sizes;
    values.insert(values.end(), more.begin(), more.end());
    return values;
  };
  for (const Model& model :
       {model_of("gpt", with({{"max_sequence", {8}}})),
        model_of("gpt", with({{"max_sequence", {8}}, {"learned_positions", {0}}})),
        model_of("llama", sizes)}) {
    Job job = small_job(model);
    job.attention = AttentionKernel::Flash;
    job.batch.attended_length = 3;
    LayerContext context = context_of(job);
    const MicroBatch batch = Data(job, 0).micro_batch(context, 0, 0);
    context.samples = packed_lengths(8, 3);
    const ModelRun packed = whole_run(job, context, batch);

    double loss = 0;
    std::vector<std::vector<at::Tensor>> gradients;
    std::int64_t first = 0;
    LayerContext alone = context_of(job);
    for (const std::int64_t length : context.samples) {
      const ModelRun run =
          whole_run(job, alone,
                    {batch.input.narrow(1, first, length), batch.target.narrow(1, first, length)});
      const double part = double(length) / 8;
      loss += part * run.loss;
      if (gradients.empty()) {
        gradients = run.gradients;
        for (auto& layer : gradients)
          for (at::Tensor& gradient : layer) gradient = gradient * part;
      } else {
        for (std::size_t i = 0; i < gradients.size(); ++i)
          for (std::size_t j = 0; j < gradients[i].size(); ++j)
            gradients[i][j] = gradients[i][j] + run.gradients[i][j] * part;
      }
      first += length;
    }
    CHECK(packed.loss == Approx(loss).epsilon(1e-5));
    for (std::size_t i = 0; i < gradients.size(); ++i)
      for (std::size_t j = 0; j < gradients[i].size(); ++j) {
        INFO(model.family->name << ", " << model.layers[i].tensors[j].name);
        CHECK(difference(packed.gradients[i][j], gradients[i][j]) < 1e-5);
      }
  }
}

}  // namespace windtunnel
